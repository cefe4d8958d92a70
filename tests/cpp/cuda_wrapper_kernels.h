// Each wrapper of csrc/cuda/device/ as a kernel of its own, one warp to a round: tried on a card
// and on the emulated device by cuda_wrappers_test.cpp. Valid C++17.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/runtime.h"

namespace realm::test {

constexpr int kLanes = 32, kWordsIn = 12, kWordsOut = 4;  // of a lane in a round

// What the words of a lane's input are: random bits, or numbers of moderate size.
enum class Words { kBits, kHalfPairs, kBrainPairs, kFloats };

struct Wrapper {
  const char* name;
  Words in;  // of the fragments a and b, words 4 to 9; the words before are the sums d
  Words sums;
  double tolerance;  // of each word of the output as a float, absolute; 0: equal bits
  void (*launch)(const uint32_t* in, uint32_t* out, int n_rounds, cuda::Stream stream);
};

// In [rounds, lanes, kWordsIn], out [rounds, lanes, kWordsOut], both in the device's memory.
const std::vector<Wrapper>& wrappers();

}  // namespace realm::test
