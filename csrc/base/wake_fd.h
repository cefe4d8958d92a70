// A file descriptor that one thread makes readable and an event loop waits for; on Windows a
// socket, since select() takes nothing else there. Signalling is safe from any thread and never
// blocks; many signals before a clear() are one. It belongs to the process that made it: a forked
// child must not use it, as it shares it with its parent.
#pragma once

namespace realm {

class WakeFd {
 public:
  // Throws kIo when the process has no descriptors left.
  WakeFd();
  ~WakeFd();
  WakeFd(const WakeFd&) = delete;
  WakeFd& operator=(const WakeFd&) = delete;

  // Readable after a signal, until it is cleared.
  int fd() const { return read_end_; }
  void signal() noexcept;
  void clear() noexcept;

 private:
  int read_end_ = -1, write_end_ = -1;
};

}  // namespace realm
