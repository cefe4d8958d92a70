// How many tokens a flow takes within a minute. A request counts with all that it may take until it
// has ended, then for a minute with what it took; so whatever was computed within any 60 seconds is
// counted at their end. Seconds are whole: a count lasts up to one longer, never shorter.
//
// Pure arithmetic on the times it is given, which must not go back; one thread at a time. Fixed
// memory, no allocation.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace realm {

class TokenWindow {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // A request that may take n_tokens begins.
  void begin(int64_t n_tokens) { live_ += n_tokens; }
  // It has ended after n_used of them.
  void end(int64_t n_tokens, int64_t n_used, Time now);
  // What counts now.
  int64_t count(Time now);

 private:
  static constexpr int64_t kSlots = 61;  // a minute, and the second under way

  int64_t& slot(int64_t second) { return slots_[static_cast<size_t>(second % kSlots)]; }
  void advance(Time now);

  int64_t live_ = 0;   // of requests that have not ended
  int64_t ended_ = 0;  // sum of the slots
  int64_t newest_ = 0;
  std::array<int64_t, kSlots> slots_{};  // tokens of requests that ended in each second
};

}  // namespace realm
