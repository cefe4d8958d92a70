#include <csignal>
#include <utility>

#include "base/quiet_thread.h"

namespace realm {

namespace {

// A new thread begins with its starter's mask.
class MaskedSignals {
 public:
  MaskedSignals() {
    sigset_t all;
    sigfillset(&all);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGPROF}) {
      sigdelset(&all, own);
    }
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~MaskedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  MaskedSignals(const MaskedSignals&) = delete;
  MaskedSignals& operator=(const MaskedSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

std::thread start_quiet_thread(std::function<void()> body) {
  const MaskedSignals masked;
  return std::thread(std::move(body));
}

}  // namespace realm
