// What the files that implement the base for Windows share. Seen by `*_windows.cpp` alone.
#pragma once

#include <string>
#include <string_view>

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
// First: the headers of Windows need what it declares.
#include <windows.h>

namespace realm {

// Throws kIo with the text of the errno value that a Windows error code (GetLastError) is nearest
// to.
[[noreturn]] void fail_windows(DWORD error, const std::string& what);

// UTF-16 for the system; bytes that are no UTF-8 throw kInvalidRequest.
std::wstring wide(std::string_view utf8);

}  // namespace realm
