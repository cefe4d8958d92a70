// What the 32 threads of a warp tell each other. All lanes of a warp must call together, with the
// same arguments but for the value.
#pragma once

#include "cuda/device/language.cuh"

namespace realm::cuda {

#ifdef __CUDACC__

template <class T>
REALM_DEVICE T shuffle(T value, int from_lane) {
  return __shfl_sync(0xffffffffu, value, from_lane);
}
template <class T>
REALM_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
REALM_DEVICE uint32_t ballot(bool vote) {
  return __ballot_sync(0xffffffffu, vote);
}
REALM_DEVICE int count_bits(uint32_t bits) {
  return __popc(bits);
}

#else

// Lanes that call from different lines meet nowhere.
template <class T>
T shuffle(T value, int from_lane, int line = __builtin_LINE()) {
  const simt::Slots& slots = simt::exchange(&value, sizeof value, nullptr, line);
  simt::read_slot(slots, from_lane, &value, sizeof value);
  return value;
}
template <class T>
T shuffle_xor(T value, int mask, int line = __builtin_LINE()) {
  return shuffle(value, simt::lane() ^ mask, line);
}
inline uint32_t ballot(bool vote, int line = __builtin_LINE()) {
  const uint32_t mine = vote;
  const simt::Slots& slots = simt::exchange(&mine, sizeof mine, nullptr, line);
  uint32_t bits = 0;
  for (int i = 0; i < simt::warp_lanes(); ++i) {
    uint32_t other;
    simt::read_slot(slots, i, &other, sizeof other);
    bits |= other << i;
  }
  return bits;
}
inline int count_bits(uint32_t bits) {
  return __builtin_popcount(bits);
}

#endif

// Butterflies: every lane gets the result, and its bits depend on the values alone.
REALM_DEVICE float warp_sum(float value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}
REALM_DEVICE float warp_max(float value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value = fmaxf(value, shuffle_xor(value, mask));
  return value;
}

}  // namespace realm::cuda
