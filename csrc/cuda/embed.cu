// Rows of a table by token id, decoded to f32: a thread for each group of 32 values of a quantized
// table, for each value of another. The values are those of the reference decoders, bit for bit
// (F16 and F32 stand-ins of other formats: rounded once at load), times `scale`, which is rounded
// separately. Bytes moved: the encoded rows in, the decoded out.
#include "cuda/codec.cuh"
#include "cuda/kernels.h"

namespace realm::cuda {

namespace {

constexpr int kThreads = 128;

template <class Codec>
__global__ void embed_groups_kernel(PackedWeight table, const int32_t* tokens, float scale,
                                    float* out) {
  const int n_groups = static_cast<int>(table.n_cols / kGroup);
  const int group = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (group >= n_groups) return;
  const GroupAt at{int64_t{tokens[blockIdx.y]} * n_groups, group};
  int q[8];
  Codec::unpack(table, at, q);
  const GroupFactors f = Codec::factors(table, at);
  float* row = out + blockIdx.y * table.n_cols + group * kGroup;
  for (int i = 0; i < kGroup; ++i) {
    const int value = static_cast<int8_t>(static_cast<uint32_t>(q[i / 4]) >> (8 * (i % 4)));
    const float step = i < 16 ? f.first : f.second;
    const float product = mul_rn(step, static_cast<float>(value));
    row[i] = mul_rn(Codec::kHasMin ? sub_rn(product, f.min) : product, scale);
  }
}

template <class Element>
__global__ void embed_values_kernel(PackedWeight table, const int32_t* tokens, float scale,
                                    float* out) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= table.n_cols) return;
  const auto* values = reinterpret_cast<const typename Element::Bits*>(table.quants);
  const float value = Element::widen(values[tokens[blockIdx.y] * table.stride + i]);
  out[blockIdx.y * table.n_cols + i] = mul_rn(value, scale);
}

}  // namespace

void launch_embed(const PackedWeight& table, const int32_t* tokens, float scale, float* out,
                  int64_t n_rows, Stream stream) {
  const bool by_groups = is_quantized(table.packing);
  const int64_t n = by_groups ? table.n_cols / kGroup : table.n_cols;
  constexpr int64_t kMostRows = 65535;  // of a grid's second dimension
  for (int64_t first = 0; first < n_rows; first += kMostRows) {
    const int64_t rows = n_rows - first < kMostRows ? n_rows - first : kMostRows;
    const dim3 grid(static_cast<unsigned>(div_up<int64_t>(n, kThreads)),
                    static_cast<unsigned>(rows));
    float* to = out + first * table.n_cols;
    if (by_groups) {
      with_codec(table.packing, [&](auto codec) {
        REALM_LAUNCH(embed_groups_kernel<decltype(codec)>, grid, dim3(kThreads), 0, stream, table,
                     tokens + first, scale, to);
      });
    } else {
      with_element(table.packing, [&](auto element) {
        REALM_LAUNCH(embed_values_kernel<decltype(element)>, grid, dim3(kThreads), 0, stream, table,
                     tokens + first, scale, to);
      });
    }
  }
}

}  // namespace realm::cuda
