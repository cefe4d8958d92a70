// Many input rows times a weight of any format on simdgroup matrices. A threadgroup computes
// kMatrixRows x kMatrixCols outputs; slabs of kMatrixDepth values along k come to threadgroup
// memory as floats, the weight decoded there once for all rows; each of four simdgroups multiplies
// a quarter of the tile. Everything is f32, so no input overflows and nothing but the sum's order
// differs from vector_*.metal: an output is a sum in ascending k, eight products at a time, in
// whatever tile it stands; the bias comes last. Grid: columns x rows x experts. Bytes moved: the
// weight once for each kMatrixRows rows, the input once for each kMatrixCols columns. Oracle:
// float64 over the decoded weight.
#include "metal/codec.h"
#include "metal/product_rows.h"

// Sixteen values of a weight's row as floats; those beyond the row's end are zeros.
template <class Codec>
struct CodedRows {
  static void load(device const uint8_t* weight, long row, int piece, long n_cols,
                   thread float4* values) {
    device const typename Codec::Block& block = block_of<Codec>(weight, row, n_cols, piece);
    Codec::unpack(block, piece % Codec::kPieces, values);
    const Factors f = Codec::factors(block, piece % Codec::kPieces);
    for (int i = 0; i < 4; ++i) values[i] = values[i] * float4(f.step) - float4(f.min);
  }
};

template <class Element>
struct PlainRows {
  static void load(device const uint8_t* weight, long row, int piece, long n_cols,
                   thread float4* values) {
    device const typename Element::Bits* from =
        (device const typename Element::Bits*)weight + row * n_cols + piece * kPiece;
    const int n = int(min(n_cols - long(piece) * kPiece, long(kPiece)));
    for (int i = 0; i < kPiece; ++i) values[i / 4][i % 4] = i < n ? Element::widen(from[i]) : 0.0f;
  }
};

template <class Rows>
kernel void matrix_kernel(device const uint8_t* weight [[buffer(0)]],
                          device const float* in [[buffer(1)]],
                          device const float* bias [[buffer(2)]],
                          device const int* segments [[buffer(3)]], device float* out [[buffer(4)]],
                          constant ProductParams& p [[buffer(5)]],
                          threadgroup uchar* shared [[threadgroup(0)]],
                          uint3 group [[threadgroup_position_in_grid]],
                          uint thread_index [[thread_index_in_threadgroup]],
                          uint simd [[simdgroup_index_in_threadgroup]]) {
  const ProductRows rows = rows_of(p, segments, group.z);
  const long first_in = rows.first + long(group.y) * kMatrixRows;
  const long first_out = long(group.x) * kMatrixCols;
  if (first_in >= rows.end) return;
  threadgroup float* a = (threadgroup float*)shared;               // [rows, depth]
  threadgroup float* b = a + kMatrixRows * kMatrixDepth;           // [columns, depth]
  const int row0 = int(simd) / 2 * 16, col0 = int(simd) % 2 * 32;  // of this simdgroup's part
  const int t = int(thread_index);

  simdgroup_float8x8 sums[2][4];
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 4; ++j) sums[i][j] = make_filled_simdgroup_matrix<float, 8>(0.0f);
  for (long k = 0; k < p.n_cols; k += kMatrixDepth) {
    {
      const int row = t / 4, d = t % 4 * 8;  // eight values each
      device const float* from = in + (first_in + row) * p.n_cols + k + d;
      threadgroup float* to = a + row * kMatrixDepth + d;
      const bool inside = first_in + row < rows.end;
      for (int i = 0; i < 8; ++i) to[i] = inside && k + d + i < p.n_cols ? from[i] : 0.0f;
    }
    {
      const int col = t / 2, half_slab = t % 2;  // a piece each
      float4 values[4] = {float4(0.0f), float4(0.0f), float4(0.0f), float4(0.0f)};
      if (first_out + col < p.n_out && k + half_slab * kPiece < p.n_cols) {
        Rows::load(weight, rows.weight_base + first_out + col, int(k / kPiece) + half_slab,
                   p.n_cols, values);
      }
      threadgroup float* to = b + col * kMatrixDepth + half_slab * kPiece;
      for (int i = 0; i < kPiece; ++i) to[i] = values[i / 4][i % 4];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int d = 0; d < kMatrixDepth; d += 8) {
      simdgroup_float8x8 x[2], w[4];
      for (int i = 0; i < 2; ++i)
        simdgroup_load(x[i], a + (row0 + 8 * i) * kMatrixDepth + d, kMatrixDepth);
      for (int j = 0; j < 4; ++j)
        simdgroup_load(w[j], b + (col0 + 8 * j) * kMatrixDepth + d, kMatrixDepth, ulong2(0, 0),
                       true);
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 4; ++j)
          simdgroup_multiply_accumulate(sums[i][j], x[i], w[j], sums[i][j]);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);  // before the next slab, or the results
  }
  threadgroup float* tile = a;  // [rows, columns]
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 4; ++j)
      simdgroup_store(sums[i][j], tile + (row0 + 8 * i) * kMatrixCols + col0 + 8 * j, kMatrixCols);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (int i = t; i < kMatrixRows * kMatrixCols; i += kMatrixThreads) {
    const long row = first_in + i / kMatrixCols, col = first_out + i % kMatrixCols;
    if (row < rows.end && col < p.n_out)
      out[row * p.n_out + col] = tile[i] + (p.has_bias ? bias[col] : 0.0f);
  }
}

typedef decltype(matrix_kernel<CodedRows<CodecQ4_0>>) matrix_t;
template [[host_name("matrix_f32")]] kernel matrix_t matrix_kernel<PlainRows<FloatElement>>;
template [[host_name("matrix_f16")]] kernel matrix_t matrix_kernel<PlainRows<HalfElement>>;
template [[host_name("matrix_bf16")]] kernel matrix_t matrix_kernel<PlainRows<BrainElement>>;
template [[host_name("matrix_q4_0")]] kernel matrix_t matrix_kernel<CodedRows<CodecQ4_0>>;
template [[host_name("matrix_q8_0")]] kernel matrix_t matrix_kernel<CodedRows<CodecQ8_0>>;
template [[host_name("matrix_q4_k")]] kernel matrix_t matrix_kernel<CodedRows<CodecQ4_K>>;
template [[host_name("matrix_q5_k")]] kernel matrix_t matrix_kernel<CodedRows<CodecQ5_K>>;
template [[host_name("matrix_q6_k")]] kernel matrix_t matrix_kernel<CodedRows<CodecQ6_K>>;
