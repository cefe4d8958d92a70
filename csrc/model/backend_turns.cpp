#include "model/backend_turns.h"

#include <algorithm>

#include "base/error.h"

namespace realm {

namespace {

constexpr int kShareOfOthers = 3;  // of a modest caller's 1
// Nobody wants a backend that was left alone for so long: an engine with work is back sooner, also
// on a machine that does other things.
constexpr std::chrono::milliseconds kQuiet{20};
constexpr std::chrono::milliseconds kLook{2};  // for a flag, and whether it is quiet

}  // namespace

void BackendTurns::lock() {
  std::unique_lock lock(mutex_);
  ++n_others_waiting_;
  changed_.wait(lock, [this] { return !is_held_; });
  --n_others_waiting_;
  is_held_ = true;
  began_ = Clock::now();
}

void BackendTurns::unlock() {
  {
    const std::lock_guard lock(mutex_);
    is_held_ = false;
    others_ended_ = Clock::now();
    owed_ = std::max(owed_ - (others_ended_ - began_), Clock::duration(0));
  }
  changed_.notify_all();
}

bool BackendTurns::may_begin_modest_turn(Clock::time_point now) const {
  if (is_held_) return false;
  return owed_ == Clock::duration(0) || (n_others_waiting_ == 0 && now - others_ended_ >= kQuiet);
}

void BackendTurns::lock_modestly(const std::atomic<bool>* cancel) {
  std::unique_lock lock(mutex_);
  const auto self = modest_.insert(modest_.end(), ++n_modest_);
  while (self != modest_.begin() || !may_begin_modest_turn(Clock::now())) {
    if (cancel && cancel->load(std::memory_order_relaxed)) {
      modest_.erase(self);
      changed_.notify_all();
      fail(ErrorCode::kCancelled, "the computation was cancelled");
    }
    changed_.wait_for(lock, kLook);
  }
  is_held_ = true;
  began_ = Clock::now();
}

void BackendTurns::unlock_modestly() {
  {
    const std::lock_guard lock(mutex_);
    is_held_ = false;
    modest_.pop_front();
    owed_ = kShareOfOthers * (Clock::now() - began_);  // what was owed before is settled or waived
  }
  changed_.notify_all();
}

}  // namespace realm
