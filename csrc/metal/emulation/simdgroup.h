// Barriers, sums and matrices of a simdgroup on the emulated device. Seen through metal_stdlib.
#pragma once

inline half::half(float value) : bits(realm::f32_to_f16(value)) {}
inline half::operator float() const {
  return realm::f16_to_f32(bits);
}

namespace metal {

// Flags that name other memory than what is shared would be a missing barrier on a device; kernels
// of this room share threadgroup memory, but for one that says mem_device.
inline void threadgroup_barrier(mem_flags, const char* file = __builtin_FILE(),
                                int line = __builtin_LINE()) {
  if (realm::simt::keeps_barrier(file, line)) realm::simt::block_barrier();
}
inline void simdgroup_barrier(mem_flags, const char* file = __builtin_FILE(),
                              int line = __builtin_LINE()) {
  if (realm::simt::keeps_barrier(file, line)) realm::simt::warp_barrier();
}

template <class T>
T simd_shuffle_xor(T value, ushort mask) {
  const realm::simt::Slots& slots = realm::simt::exchange(&value, sizeof value);
  realm::simt::read_slot(slots, realm::simt::lane() ^ mask, &value, sizeof value);
  return value;
}
// The law of sums: by halves, so that every lane gets the same bits.
template <class T>
T simd_sum(T value) {
  for (ushort mask = realm::simt::kWarp / 2; mask > 0; mask = ushort(mask / 2))
    value += simd_shuffle_xor(value, mask);
  return value;
}
inline float simd_max(float value) {
  for (ushort mask = realm::simt::kWarp / 2; mask > 0; mask = ushort(mask / 2))
    value = fmax(value, simd_shuffle_xor(value, mask));
  return value;
}
template <class T>
T simd_prefix_exclusive_sum(T value) {
  const realm::simt::Slots& slots = realm::simt::exchange(&value, sizeof value);
  T sum = 0;
  for (int i = 0; i < realm::simt::lane(); ++i) {
    T other;
    realm::simt::read_slot(slots, i, &other, sizeof other);
    sum += other;
  }
  return sum;
}

// A lane holds two of the 64 elements; which ones differs from what any device does, on purpose.
template <class T, int kCols, int kRows>
struct simdgroup_matrix {
  static_assert(kCols == 8 && kRows == 8, "Metal has 8 x 8");
  T element[2];

  static int at(int lane, int i) { return (lane * 2 + i) * 11 % 64; }
  static int row(int i) { return at(realm::simt::lane(), i) / 8; }
  static int col(int i) { return at(realm::simt::lane(), i) % 8; }
};

template <class T, int kCols, int kRows = kCols>
simdgroup_matrix<T, kCols, kRows> make_filled_simdgroup_matrix(T value) {
  return {{value, value}};
}

// Each lane reads and writes its own elements when it comes there, without waiting for others, so
// that a barrier that is missing before a load shows.
template <class T>
void simdgroup_load(simdgroup_matrix<T, 8>& m, const T* from, ulong stride,
                    ulong2 origin = ulong2(0, 0), bool transposed = false) {
  for (int i = 0; i < 2; ++i) {
    const ulong row = ulong(m.row(i)), col = ulong(m.col(i));
    m.element[i] =
        from[(origin.y + (transposed ? col : row)) * stride + origin.x + (transposed ? row : col)];
  }
}
template <class T>
void simdgroup_store(const simdgroup_matrix<T, 8>& m, T* to, ulong stride,
                     ulong2 origin = ulong2(0, 0)) {
  for (int i = 0; i < 2; ++i)
    to[(origin.y + ulong(m.row(i))) * stride + origin.x + ulong(m.col(i))] = m.element[i];
}

// d = a * b + c. Products and sums are f32 in ascending k; hardware sums in an order of its own.
inline void simdgroup_multiply_accumulate(simdgroup_float8x8& d, const simdgroup_float8x8& a,
                                          const simdgroup_float8x8& b,
                                          const simdgroup_float8x8& c) {
  struct Operands {
    float a[2], b[2], c[2];
  };
  Operands mine = {
      {a.element[0], a.element[1]}, {b.element[0], b.element[1]}, {c.element[0], c.element[1]}};
  const realm::simt::Slots& slots =
      realm::simt::exchange(&mine, sizeof mine, [](realm::simt::Slots& all) {
        float x[64], y[64], sums[64];
        Operands lanes[realm::simt::kWarp];
        for (int lane = 0; lane < realm::simt::kWarp; ++lane) {
          Operands& o = lanes[lane];
          realm::simt::read_slot(all, lane, &o, sizeof o);
          for (int i = 0; i < 2; ++i) {
            const int at = simdgroup_float8x8::at(lane, i);
            x[at] = o.a[i];
            y[at] = o.b[i];
            sums[at] = o.c[i];
          }
        }
        for (int row = 0; row < 8; ++row)
          for (int k = 0; k < 8; ++k)
            for (int col = 0; col < 8; ++col)
              sums[row * 8 + col] += x[row * 8 + k] * y[k * 8 + col];
        for (int lane = 0; lane < realm::simt::kWarp; ++lane) {
          float result[2];
          for (int i = 0; i < 2; ++i) result[i] = sums[simdgroup_float8x8::at(lane, i)];
          realm::simt::write_slot(all, lane, result, sizeof result);
        }
      });
  realm::simt::read_slot(slots, realm::simt::lane(), d.element, sizeof d.element);
}

}  // namespace metal
