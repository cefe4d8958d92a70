// Files are opened for every kind of sharing, as POSIX has it: others may read, write, rename and
// remove them meanwhile. A mapped file is the exception that Windows makes: it cannot be shortened.
#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "base/file.h"
#include "base/windows.h"

namespace realm {

namespace {

constexpr DWORD kShareAll = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
constexpr size_t kMaxCall = size_t{1} << 30;  // a call's length is 32 bits

HANDLE handle_of(std::intptr_t number) {
  return reinterpret_cast<HANDLE>(number);
}

std::intptr_t number_of(HANDLE handle) {
  return reinterpret_cast<std::intptr_t>(handle);
}

bool is_regular(HANDLE handle, const BY_HANDLE_FILE_INFORMATION& info) {
  return ::GetFileType(handle) == FILE_TYPE_DISK &&
         (info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) == 0;
}

}  // namespace

File::File(const std::string& path) : path_(path) {
  // Folders open only with backup semantics; they are told apart below.
  const HANDLE handle = ::CreateFileW(wide(path).c_str(), GENERIC_READ, kShareAll, nullptr,
                                      OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, nullptr);
  if (handle == INVALID_HANDLE_VALUE) {
    fail_windows(::GetLastError(), "cannot open " + quoted(path, 256));
  }
  BY_HANDLE_FILE_INFORMATION info{};
  const bool known = ::GetFileInformationByHandle(handle, &info) != 0;
  const DWORD error = ::GetLastError();
  if (known && is_regular(handle, info)) {
    handle_ = number_of(handle);
    size_ = uint64_t{info.nFileSizeHigh} << 32 | info.nFileSizeLow;
    return;
  }
  const bool is_disk = ::GetFileType(handle) == FILE_TYPE_DISK;
  ::CloseHandle(handle);
  if (!known && is_disk) fail_windows(error, "cannot stat " + quoted(path, 256));
  fail(ErrorCode::kFormat, quoted(path, 256), " is not a regular file");
}

File::~File() {
  ::CloseHandle(handle_of(handle_));
}

void File::read_at(uint64_t offset, std::span<std::byte> out) const {
  size_t done = 0;
  while (done < out.size()) {
    const uint64_t at = offset + done;
    OVERLAPPED place{};  // on a handle opened without FILE_FLAG_OVERLAPPED: where to read, no more
    place.Offset = static_cast<DWORD>(at);
    place.OffsetHigh = static_cast<DWORD>(at >> 32);
    const auto want = static_cast<DWORD>(std::min(out.size() - done, kMaxCall));
    DWORD n = 0;
    if (!::ReadFile(handle_of(handle_), out.data() + done, want, &n, &place)) {
      const DWORD error = ::GetLastError();
      if (error != ERROR_HANDLE_EOF) fail_windows(error, "cannot read " + quoted(path_, 256));
      n = 0;
    }
    if (n == 0) {
      fail(ErrorCode::kFormat, quoted(path_, 256), " ends at byte ", at, ", needed ",
           out.size() - done, " more bytes");
    }
    done += n;
  }
}

MappedFile::MappedFile(const File& file) {
  if (file.size() == 0) return;
  // The size is named, so that a file that has shrunk is refused; the view keeps the mapping alive.
  const HANDLE mapping = ::CreateFileMappingW(handle_of(file.handle_), nullptr, PAGE_READONLY,
                                              static_cast<DWORD>(file.size() >> 32),
                                              static_cast<DWORD>(file.size()), nullptr);
  if (!mapping) fail_windows(::GetLastError(), "cannot map " + quoted(file.path(), 256));
  const void* address = ::MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, file.size());
  const DWORD error = ::GetLastError();
  ::CloseHandle(mapping);
  if (!address) fail_windows(error, "cannot map " + quoted(file.path(), 256));
  bytes_ = {static_cast<const std::byte*>(address), file.size()};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::UnmapViewOfFile(bytes_.data());
}

OutputFile::OutputFile(const std::string& path) : path_(path) {
  constexpr int kAttempts = 100;  // names taken by other writers, or left behind by killed ones
  DWORD error = 0;
  for (int attempt = 0; attempt < kAttempts && handle_ == -1; ++attempt) {
    temporary_path_ = concat(path, ".partial-", ::GetCurrentProcessId(), "-", attempt);
    handle_ = number_of(::CreateFileW(wide(temporary_path_).c_str(), GENERIC_WRITE, kShareAll,
                                      nullptr, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, nullptr));
    error = ::GetLastError();
    if (handle_ == -1 && error != ERROR_FILE_EXISTS) break;
  }
  if (handle_ == -1) fail_windows(error, "cannot create " + quoted(temporary_path_, 256));
}

// commit() closes the handle before it renames, and clears the temporary name once that is done.
OutputFile::~OutputFile() {
  if (handle_ != -1) ::CloseHandle(handle_of(handle_));
  if (!temporary_path_.empty()) ::DeleteFileW(wide(temporary_path_).c_str());
}

void OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto want = static_cast<DWORD>(std::min(bytes.size(), kMaxCall));
    DWORD n = 0;
    if (!::WriteFile(handle_of(handle_), bytes.data(), want, &n, nullptr)) {
      fail_windows(::GetLastError(), "cannot write " + quoted(temporary_path_, 256));
    }
    bytes = bytes.subspan(n);
    size_ += n;
  }
}

void OutputFile::commit() {
  if (!::FlushFileBuffers(handle_of(handle_))) {
    fail_windows(::GetLastError(), "cannot write " + quoted(temporary_path_, 256));
  }
  ::CloseHandle(handle_of(handle_));
  handle_ = -1;
  if (!::MoveFileExW(wide(temporary_path_).c_str(), wide(path_).c_str(),
                     MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)) {
    fail_windows(::GetLastError(), "cannot replace " + quoted(path_, 256));
  }
  temporary_path_.clear();
}

}  // namespace realm
