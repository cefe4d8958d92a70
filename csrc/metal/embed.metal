// Rows of a table by token id, decoded to f32: a thread for each sixteen values of a quantized
// table, for each value of another. The values are those of the reference decoders, bit for bit,
// times `scale`, which is rounded separately. Bytes moved: the encoded rows in, the decoded out.
#include "metal/codec.h"

template <class Codec>
kernel void embed_groups_kernel(device const uint8_t* table [[buffer(0)]],
                                device const int* tokens [[buffer(1)]],
                                device float* out [[buffer(2)]],
                                constant EmbedParams& p [[buffer(3)]],
                                uint2 at [[thread_position_in_grid]]) {
  const int piece = int(at.x);
  if (piece >= p.n_cols / kPiece) return;
  device const typename Codec::Block& block = block_of<Codec>(table, tokens[at.y], p.n_cols, piece);
  float4 q[4];
  Codec::unpack(block, piece % Codec::kPieces, q);
  const Factors f = Codec::factors(block, piece % Codec::kPieces);
  device float* row = out + at.y * p.n_cols + piece * kPiece;
  for (int i = 0; i < kPiece; ++i) {
    const float product = f.step * q[i / 4][i % 4];
    row[i] = (product - f.min) * p.scale;
  }
}

template <class Element>
kernel void embed_values_kernel(device const uint8_t* table [[buffer(0)]],
                                device const int* tokens [[buffer(1)]],
                                device float* out [[buffer(2)]],
                                constant EmbedParams& p [[buffer(3)]],
                                uint2 at [[thread_position_in_grid]]) {
  if (at.x >= p.n_cols) return;
  device const typename Element::Bits* values = (device const typename Element::Bits*)table;
  out[at.y * p.n_cols + at.x] = Element::widen(values[tokens[at.y] * p.n_cols + at.x]) * p.scale;
}

typedef decltype(embed_groups_kernel<CodecQ4_0>) embed_kernel_t;
template [[host_name("embed_f32")]] kernel embed_kernel_t embed_values_kernel<FloatElement>;
template [[host_name("embed_f16")]] kernel embed_kernel_t embed_values_kernel<HalfElement>;
template [[host_name("embed_bf16")]] kernel embed_kernel_t embed_values_kernel<BrainElement>;
template [[host_name("embed_q4_0")]] kernel embed_kernel_t embed_groups_kernel<CodecQ4_0>;
template [[host_name("embed_q8_0")]] kernel embed_kernel_t embed_groups_kernel<CodecQ8_0>;
template [[host_name("embed_q4_k")]] kernel embed_kernel_t embed_groups_kernel<CodecQ4_K>;
template [[host_name("embed_q5_k")]] kernel embed_kernel_t embed_groups_kernel<CodecQ5_K>;
template [[host_name("embed_q6_k")]] kernel embed_kernel_t embed_groups_kernel<CodecQ6_K>;
