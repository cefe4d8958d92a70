// Events per second over the last ten seconds. One thread at a time; fixed memory.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace realm {

class RateMeter {
 public:
  using Time = std::chrono::steady_clock::time_point;

  void add(uint64_t n, Time now) {
    advance(now);
    slot(newest_) += n;
  }
  // Over the ten whole seconds before the one under way.
  double per_second(Time now) {
    advance(now);
    uint64_t sum = 0;
    for (const uint64_t n : slots_) sum += n;
    return static_cast<double>(sum - slot(newest_)) / (kSlots - 1);
  }

 private:
  static constexpr int64_t kSlots = 11;

  uint64_t& slot(int64_t second) { return slots_[static_cast<size_t>(second % kSlots)]; }
  void advance(Time now) {
    const int64_t second = std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
    for (int64_t s = std::max(newest_ + 1, second - kSlots + 1); s <= second; ++s) slot(s) = 0;
    newest_ = std::max(newest_, second);
  }

  int64_t newest_ = 0;
  std::array<uint64_t, kSlots> slots_{};
};

}  // namespace realm
