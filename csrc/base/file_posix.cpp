#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/file.h"

namespace realm {

namespace {

int descriptor(std::intptr_t handle) {
  return static_cast<int>(handle);
}

}  // namespace

File::File(const std::string& path) : path_(path) {
  // A FIFO must not block the open.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail_io(errno, "cannot open " + quoted(path, 256));
  handle_ = fd;
  struct stat info;
  const bool known = ::fstat(fd, &info) == 0;
  if (known && S_ISREG(info.st_mode)) {
    size_ = static_cast<uint64_t>(info.st_size);
    return;
  }
  const int os_error = errno;
  ::close(fd);
  if (!known) fail_io(os_error, "cannot stat " + quoted(path, 256));
  fail(ErrorCode::kFormat, quoted(path, 256), " is not a regular file");
}

File::~File() {
  ::close(descriptor(handle_));
}

void File::read_at(uint64_t offset, std::span<std::byte> out) const {
  constexpr size_t kMaxCall = size_t{1} << 30;  // the kernel caps a single read near 2 GiB
  size_t done = 0;
  while (done < out.size()) {
    const size_t want = std::min(out.size() - done, kMaxCall);
    const ssize_t n =
        ::pread(descriptor(handle_), out.data() + done, want, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_io(errno, "cannot read " + quoted(path_, 256));
    if (n == 0) {
      fail(ErrorCode::kFormat, quoted(path_, 256), " ends at byte ", offset + done, ", needed ",
           out.size() - done, " more bytes");
    }
    done += static_cast<size_t>(n);
  }
}

MappedFile::MappedFile(const File& file) {
  if (file.size() == 0) return;
  void* address = ::mmap(nullptr, file.size(), PROT_READ, MAP_SHARED, descriptor(file.handle_), 0);
  if (address == MAP_FAILED) fail_io(errno, "cannot map " + quoted(file.path(), 256));
  bytes_ = {static_cast<const std::byte*>(address), file.size()};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

OutputFile::OutputFile(const std::string& path) : path_(path) {
  constexpr int kAttempts = 100;  // names taken by other writers, or left behind by killed ones
  for (int attempt = 0; attempt < kAttempts && handle_ < 0; ++attempt) {
    temporary_path_ = concat(path, ".partial-", ::getpid(), "-", attempt);
    handle_ = ::open(temporary_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (handle_ < 0 && errno != EEXIST) break;
  }
  if (handle_ < 0) fail_io(errno, "cannot create " + quoted(temporary_path_, 256));
}

OutputFile::~OutputFile() {
  if (handle_ < 0) return;
  ::close(descriptor(handle_));
  ::unlink(temporary_path_.c_str());
}

void OutputFile::write(std::span<const std::byte> bytes) {
  constexpr size_t kMaxCall = size_t{1} << 30;
  while (!bytes.empty()) {
    const size_t want = std::min(bytes.size(), kMaxCall);
    const ssize_t n = ::write(descriptor(handle_), bytes.data(), want);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_io(errno, "cannot write " + quoted(temporary_path_, 256));
    bytes = bytes.subspan(static_cast<size_t>(n));
    size_ += static_cast<uint64_t>(n);
  }
}

void OutputFile::commit() {
  if (::fsync(descriptor(handle_)) != 0)
    fail_io(errno, "cannot write " + quoted(temporary_path_, 256));
  if (::rename(temporary_path_.c_str(), path_.c_str()) != 0) {
    fail_io(errno, "cannot replace " + quoted(path_, 256));
  }
  ::close(descriptor(handle_));
  handle_ = -1;
}

}  // namespace realm
