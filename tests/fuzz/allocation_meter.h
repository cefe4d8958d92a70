// Counts the memory that a program has taken through operator new. The .cpp replaces the global
// operators, so link it into a program that wants to measure, and into no other.
#pragma once

#include <cstdint>

namespace realm::test {

// The largest amount live at once above what was live when the meter was made.
class AllocationMeter {
 public:
  AllocationMeter();
  uint64_t peak_bytes() const;

 private:
  int64_t live_at_start_;
};

}  // namespace realm::test
