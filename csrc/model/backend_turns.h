// Who computes on a backend next. One at a time has it; those who serve requests lock() it as a
// mutex. Work of a caller's own beside them, a model's layers one by one, takes modest turns: after
// one it lets the others have the backend for three times as long, unless nobody wants it. So all
// modest callers together take a quarter of a busy backend, however they hurry, and the whole of
// an idle one; among themselves they go in the order in which they came.
//
// Any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>

namespace realm {

class BackendTurns {
 public:
  void lock();
  void unlock();

  // Throws kCancelled, without the turn, soon after `cancel` was raised; it may be null.
  void lock_modestly(const std::atomic<bool>* cancel);
  void unlock_modestly();

 private:
  using Clock = std::chrono::steady_clock;

  bool may_begin_modest_turn(Clock::time_point now) const;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_held_ = false;
  Clock::time_point began_{};         // the present turn
  Clock::time_point others_ended_{};  // the last turn that was not modest
  Clock::duration owed_{0};           // to the others, for modest turns
  int64_t n_others_waiting_ = 0;
  uint64_t n_modest_ = 0;         // turns asked for so far
  std::list<uint64_t> modest_{};  // that wait or have the turn
};

// A modest turn for as long as this lives.
class ModestTurn {
 public:
  ModestTurn(BackendTurns& turns, const std::atomic<bool>* cancel) : turns_(turns) {
    turns_.lock_modestly(cancel);
  }
  ~ModestTurn() { turns_.unlock_modestly(); }
  ModestTurn(const ModestTurn&) = delete;
  ModestTurn& operator=(const ModestTurn&) = delete;

 private:
  BackendTurns& turns_;
};

}  // namespace realm
