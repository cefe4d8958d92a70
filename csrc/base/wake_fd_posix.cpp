#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <unistd.h>

#include "base/wake_fd.h"
#if defined(__linux__)
#include <sys/eventfd.h>
#endif

#include "base/error.h"

namespace realm {

#if defined(__linux__)

WakeFd::WakeFd() : read_end_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), write_end_(read_end_) {
  if (read_end_ < 0) fail_io(errno, "cannot make an eventfd");
}

#else

WakeFd::WakeFd() {
  int ends[2];
  if (::pipe(ends) != 0) fail_io(errno, "cannot make a pipe");
  for (const int end : ends) {
    ::fcntl(end, F_SETFD, FD_CLOEXEC);
    ::fcntl(end, F_SETFL, O_NONBLOCK);
  }
  read_end_ = ends[0];
  write_end_ = ends[1];
}

#endif

WakeFd::~WakeFd() {
  ::close(read_end_);
  if (write_end_ != read_end_) ::close(write_end_);
}

void WakeFd::signal() noexcept {
  const uint64_t one = 1;
  // A full pipe is readable already.
  while (::write(write_end_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void WakeFd::clear() noexcept {
  uint64_t counts[16];
  for (;;) {
    const ssize_t n = ::read(read_end_, counts, sizeof counts);
    if (n < 0 && errno == EINTR) continue;
    if (n < static_cast<ssize_t>(sizeof counts)) return;
  }
}

}  // namespace realm
