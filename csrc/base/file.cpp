#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/checked_math.h"
#include "base/error.h"

namespace realm {

File::File(const std::string& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO must not block the open
  if (fd_ < 0) fail_io(errno, "cannot open " + quoted(path, 256));
  struct stat info;
  const bool known = ::fstat(fd_, &info) == 0;
  if (known && S_ISREG(info.st_mode)) {
    size_ = static_cast<uint64_t>(info.st_size);
    return;
  }
  const int os_error = errno;
  ::close(fd_);
  if (!known) fail_io(os_error, "cannot stat " + quoted(path, 256));
  fail(ErrorCode::kFormat, quoted(path, 256), " is not a regular file");
}

File::~File() { ::close(fd_); }

void File::read_at(uint64_t offset, std::span<std::byte> out) const {
  constexpr size_t kMaxCall = size_t{1} << 30;  // the kernel caps a single read near 2 GiB
  size_t done = 0;
  while (done < out.size()) {
    const size_t want = std::min(out.size() - done, kMaxCall);
    const ssize_t n = ::pread(fd_, out.data() + done, want, static_cast<off_t>(offset + done));
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
  void* address = ::mmap(nullptr, file.size(), PROT_READ, MAP_SHARED, file.fd_, 0);
  if (address == MAP_FAILED) fail_io(errno, "cannot map " + quoted(file.path(), 256));
  bytes_ = {static_cast<const std::byte*>(address), file.size()};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace realm
