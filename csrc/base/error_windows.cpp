#include <cerrno>

#include "base/error.h"
#include "base/windows.h"

namespace realm {

namespace {

// The codes that files, mappings and sockets give. Callers tell apart what is missing, forbidden,
// full or in use; the rest is EIO.
int nearest_errno(DWORD error) {
  switch (error) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_NAME:
    case ERROR_INVALID_DRIVE:
    case ERROR_BAD_NETPATH:
    case ERROR_BAD_PATHNAME:
      return ENOENT;
    case ERROR_ACCESS_DENIED:
    case ERROR_SHARING_VIOLATION:
    case ERROR_LOCK_VIOLATION:
    case ERROR_USER_MAPPED_FILE:
    case WSAEACCES:
      return EACCES;
    case ERROR_FILE_EXISTS:
    case ERROR_ALREADY_EXISTS:
      return EEXIST;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
      return ENOSPC;
    case ERROR_TOO_MANY_OPEN_FILES:
    case WSAEMFILE:
      return EMFILE;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_COMMITMENT_LIMIT:
    case ERROR_NO_SYSTEM_RESOURCES:
    case WSAENOBUFS:
      return ENOMEM;
    case ERROR_FILENAME_EXCED_RANGE:
      return ENAMETOOLONG;
    case ERROR_WRITE_PROTECT:
      return EROFS;
    default:
      return EIO;
  }
}

}  // namespace

void fail_windows(DWORD error, const std::string& what) {
  fail_io(nearest_errno(error), concat(what, " (Windows error ", error, ")"));
}

std::wstring wide(std::string_view utf8) {
  if (utf8.empty()) return {};
  REALM_CHECK(utf8.size() <= 32767, "a path of ", utf8.size(), " bytes is too long for Windows");
  const int bytes = static_cast<int>(utf8.size());
  const int n =
      ::MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, utf8.data(), bytes, nullptr, 0);
  REALM_CHECK(n > 0, "the path ", quoted(utf8, 256), " is not UTF-8");
  std::wstring text(static_cast<size_t>(n), L'\0');
  ::MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, utf8.data(), bytes, text.data(), n);
  return text;
}

}  // namespace realm
