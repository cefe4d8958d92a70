// The matrix unit of the emulated device: the lanes deposit their fragments, the last to come lays
// the matrices out plainly, multiplies, and leaves each lane its part of the result. Products and
// sums are f32 in ascending k; hardware sums in an order of its own, so results agree to rounding.
#pragma once

#include <cstdint>
#include <cstring>

#include "gpu/emulation/machine.h"

namespace realm::simt {

template <class D>
struct Fragments {
  D d[4];
  uint32_t a[4], b[2];
};

// One lane's part of the layouts that device/mma.cuh states.
struct Place {
  int group, part;
  explicit Place(int lane) : group(lane / 4), part(lane % 4) {}
  int d_row(int i) const { return group + 8 * (i / 2); }
  int d_col(int i) const { return 2 * part + i % 2; }
};

template <class D, class Element, int kDepth, class Decode>
void multiply_slots(Slots& slots, Decode decode) {
  constexpr int kPerWord = kDepth / 8;  // elements in 32 bits: 2 of 16 bits or 4 of 8
  Element a[16][kDepth], b[8][kDepth];
  Fragments<D> lanes[kWarp];
  for (int lane = 0; lane < kWarp; ++lane) {
    Fragments<D>& f = lanes[lane];
    read_slot(slots, lane, &f, sizeof f);
    const Place at(lane);
    for (int e = 0; e < kPerWord; ++e) {
      const int k = kPerWord * at.part + e;
      for (int i = 0; i < 4; ++i) {
        a[at.group + 8 * (i % 2)][k + kDepth / 2 * (i / 2)] = decode(f.a[i], e);
      }
      for (int i = 0; i < 2; ++i) b[at.group][k + kDepth / 2 * i] = decode(f.b[i], e);
    }
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    const Place at(lane);
    for (int i = 0; i < 4; ++i) {
      D sum = lanes[lane].d[i];
      for (int k = 0; k < kDepth; ++k) sum += a[at.d_row(i)][k] * b[at.d_col(i)][k];
      lanes[lane].d[i] = sum;
    }
    write_slot(slots, lane, lanes[lane].d, sizeof lanes[lane].d);
  }
}

template <class D>
void exchange_fragments(D (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                        void (*combine)(Slots&)) {
  Fragments<D> mine;
  std::memcpy(mine.d, d, sizeof d);
  std::memcpy(mine.a, a, sizeof a);
  std::memcpy(mine.b, b, sizeof b);
  const Slots& slots = exchange(&mine, sizeof mine, combine, __LINE__);
  read_slot(slots, lane(), d, sizeof d);
}

template <class Format>
void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  exchange_fragments(d, a, b, [](Slots& slots) {
    multiply_slots<float, float, 16>(slots, [](uint32_t word, int e) {
      return Format::widen(static_cast<uint16_t>(word >> (16 * e)));
    });
  });
}

inline void multiply_add_int8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  exchange_fragments(d, a, b, [](Slots& slots) {
    multiply_slots<int, int, 32>(
        slots, [](uint32_t word, int e) { return int{static_cast<int8_t>(word >> (8 * e))}; });
  });
}

// Reads shared memory as the lane that gets the values, so that a sanitizer sees who reads what.
inline void load_matrices(uint32_t (&r)[4], const void* row, bool turned) {
  require_shared(row, 16, 16, "a matrix's row");
  const Slots& slots = exchange(&row, sizeof row, nullptr, __LINE__);
  const Place at(lane());
  for (int m = 0; m < 4; ++m) {
    uint16_t pair[2];
    for (int e = 0; e < 2; ++e) {
      const int in_row = turned ? 2 * at.part + e : at.group;
      const int in_col = turned ? at.group : 2 * at.part + e;
      const unsigned char* bytes;
      read_slot(slots, 8 * m + in_row, &bytes, sizeof bytes);
      std::memcpy(&pair[e], bytes + 2 * in_col, sizeof pair[e]);
    }
    std::memcpy(&r[m], pair, sizeof pair);
  }
}

}  // namespace realm::simt
