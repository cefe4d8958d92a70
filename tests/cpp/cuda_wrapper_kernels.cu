#include "cpp/cuda_wrapper_kernels.h"
#include "cuda/device/async_copy.cuh"
#include "cuda/device/mma.cuh"
#include "cuda/device/warp.cuh"

namespace realm::test {

namespace {

using namespace realm::cuda;

using In = const uint32_t (&)[kWordsIn];
using Out = uint32_t (&)[kWordsOut];

template <class Format>
struct MultiplyFloats {
  static REALM_DEVICE void run(In in, Out out) {
    float d[4];
    for (int i = 0; i < 4; ++i) d[i] = bits_as_float(in[i]);
    const uint32_t a[4] = {in[4], in[5], in[6], in[7]}, b[2] = {in[8], in[9]};
    multiply_add<Format>(d, a, b);
    for (int i = 0; i < 4; ++i) out[i] = float_as_bits(d[i]);
  }
};

struct MultiplyInt8 {
  static REALM_DEVICE void run(In in, Out out) {
    int d[4];
    for (int i = 0; i < 4; ++i) d[i] = static_cast<int>(in[i]) >> 8;  // no sum overflows
    const uint32_t a[4] = {in[4], in[5], in[6], in[7]}, b[2] = {in[8], in[9]};
    multiply_add_int8(d, a, b);
    for (int i = 0; i < 4; ++i) out[i] = static_cast<uint32_t>(d[i]);
  }
};

struct MultiplyInt8Half {
  static REALM_DEVICE void run(In in, Out out) {
    int d[4];
    for (int i = 0; i < 4; ++i) d[i] = static_cast<int>(in[i]) >> 8;
    multiply_add_int8(d, in[4], in[5], in[8]);
    for (int i = 0; i < 4; ++i) out[i] = static_cast<uint32_t>(d[i]);
  }
};

// A lane's 16 bytes of shared memory, written by it; lane l then names row 31 - l.
template <bool kTurned>
struct LoadMatrices {
  static REALM_DEVICE void run(In in, Out out) {
    REALM_SHARED(Words4, rows, kLanes);
    for (int i = 0; i < 4; ++i) rows[lane_index()].w[i] = in[4 + i];
    __syncthreads();
    if (kTurned) {
      load_matrices_turned(out, &rows[kLanes - 1 - lane_index()]);
    } else {
      load_matrices(out, &rows[kLanes - 1 - lane_index()]);
    }
  }
};

// Every third copy brings zeros; a lane reads what its neighbour asked for.
struct CopyAsync {
  static REALM_DEVICE void run(const uint32_t* in, Out out) {
    REALM_SHARED(Words4, rows, 2 * kLanes);
    const int lane = lane_index();
    copy16_async(&rows[lane], in + lane * kWordsIn + 4, lane % 3 != 0);
    commit_copies();
    copy16_async(&rows[kLanes + lane], in + lane * kWordsIn, true);
    commit_copies();
    await_copies<1>();
    __syncthreads();
    const Words4 first = rows[lane ^ 1];
    await_copies<0>();
    __syncthreads();
    const Words4 second = rows[kLanes + (lane ^ 2)];
    for (int i = 0; i < 4; ++i) out[i] = first.w[i] + 3 * second.w[i];
  }
};

struct Exchange {
  static REALM_DEVICE void run(In in, Out out) {
    out[0] = static_cast<uint32_t>(shuffle(static_cast<int>(in[4]), 13));
    out[1] = static_cast<uint32_t>(shuffle(static_cast<int>(in[5]), lane_index() * 7 % kLanes));
    out[2] = static_cast<uint32_t>(shuffle_xor(static_cast<int>(in[6]), 21));
    const uint32_t votes = ballot((in[7] & 1) != 0);
    out[3] = votes ^ static_cast<uint32_t>(count_bits(votes)) << 8;
  }
};

struct Reduce {
  static REALM_DEVICE void run(In in, Out out) {
    out[0] = float_as_bits(warp_sum(bits_as_float(in[0])));
    out[1] = float_as_bits(warp_max(bits_as_float(in[1])));
    out[2] = float_as_bits(warp_max(-bits_as_float(in[2])));
    out[3] = 0;
  }
};

struct Bytes {
  static REALM_DEVICE void run(In in, Out out) {
    const auto word = [&](int i) { return static_cast<int>(in[i]); };
    out[0] = static_cast<uint32_t>(dot4(word(4), word(5), word(6) >> 8));
    out[1] = static_cast<uint32_t>(dot4(word(7), word(8), 0));
    out[2] = pick_bytes(in[4], in[5], in[6] & 0x7777u);  // as kernels ask: no bit of sign
    out[3] = pick_bytes(in[7], in[8], 0x6420u);
  }
};

struct Convert {
  static REALM_DEVICE void run(In in, Out out) {
    const float x = bits_as_float(in[0]), y = bits_as_float(in[1]);
    out[0] = narrow_pair<HalfFormat>(x, y);
    out[1] = narrow_pair<BrainFormat>(x, y);
    out[2] = float_as_bits(half_to_float(static_cast<uint16_t>(out[0])));
    out[3] = float_as_bits(bf16_to_float(static_cast<uint16_t>(out[1] >> 16)));
  }
};

// Results around the least half and around the ties between two halves.
struct ConvertCorners {
  static REALM_DEVICE void run(In in, Out out) {
    const float x = bits_as_float(in[0]);
    out[0] = float_to_half(x * 1e-7f);
    out[1] = float_to_half(x * 60000.0f);
    const uint32_t tie = (in[0] & 0xffffe000u) | 0x1000u;  // halfway between two halves
    out[2] = float_to_half(bits_as_float(tie));
    out[3] = float_to_bf16(bits_as_float((in[0] & 0xffff0000u) | 0x8000u));
  }
};

struct Round {
  static REALM_DEVICE void run(In in, Out out) {
    const float x = bits_as_float(in[0]), y = bits_as_float(in[1]);
    out[0] = float_as_bits(sub_rn(mul_rn(x, y), bits_as_float(in[2])));
    out[1] = float_as_bits(round_to_int(x * 10));
    out[2] = float_as_bits(round_to_int(static_cast<float>(lane_index() - 16) + 0.5f));
    out[3] = float_as_bits(fmaf(x, y, bits_as_float(in[2])));
  }
};

template <class Body>
__global__ void lane_kernel(const uint32_t* in, uint32_t* out) {
  const size_t lane = size_t{blockIdx.x} * kLanes + threadIdx.x;
  uint32_t mine[kWordsIn], result[kWordsOut];
  for (int i = 0; i < kWordsIn; ++i) mine[i] = in[lane * kWordsIn + i];
  Body::run(mine, result);
  for (int i = 0; i < kWordsOut; ++i) out[lane * kWordsOut + i] = result[i];
}

// For the body that reads global memory itself.
template <class Body>
__global__ void warp_kernel(const uint32_t* in, uint32_t* out) {
  uint32_t result[kWordsOut];
  Body::run(in + size_t{blockIdx.x} * kLanes * kWordsIn, result);
  for (int i = 0; i < kWordsOut; ++i)
    out[(size_t{blockIdx.x} * kLanes + threadIdx.x) * kWordsOut + i] = result[i];
}

template <class Body>
void launch_lanes(const uint32_t* in, uint32_t* out, int n_rounds, Stream stream) {
  REALM_LAUNCH(lane_kernel<Body>, dim3(static_cast<unsigned>(n_rounds)), dim3(kLanes), 0, stream,
               in, out);
}

template <class Body>
void launch_warps(const uint32_t* in, uint32_t* out, int n_rounds, Stream stream) {
  REALM_LAUNCH(warp_kernel<Body>, dim3(static_cast<unsigned>(n_rounds)), dim3(kLanes), 0, stream,
               in, out);
}

}  // namespace

const std::vector<Wrapper>& wrappers() {
  // The order in which a matrix unit adds 16 products is not known, nor whether it rounds each sum:
  // a few units in the last place of sums of some 16.
  constexpr double kSum = 1e-5;
  static const std::vector<Wrapper> all{
      {"multiply_add_f16", Words::kHalfPairs, Words::kFloats, kSum,
       launch_lanes<MultiplyFloats<HalfFormat>>},
      {"multiply_add_bf16", Words::kBrainPairs, Words::kFloats, kSum,
       launch_lanes<MultiplyFloats<BrainFormat>>},
      {"multiply_add_int8_k32", Words::kBits, Words::kBits, 0, launch_lanes<MultiplyInt8>},
      {"multiply_add_int8_k16", Words::kBits, Words::kBits, 0, launch_lanes<MultiplyInt8Half>},
      {"load_matrices", Words::kBits, Words::kBits, 0, launch_lanes<LoadMatrices<false>>},
      {"load_matrices_turned", Words::kBits, Words::kBits, 0, launch_lanes<LoadMatrices<true>>},
      {"copy16_async", Words::kBits, Words::kBits, 0, launch_warps<CopyAsync>},
      {"shuffle_ballot", Words::kBits, Words::kBits, 0, launch_lanes<Exchange>},
      {"warp_sum_max", Words::kFloats, Words::kFloats, 0, launch_lanes<Reduce>},
      {"dot4_pick_bytes", Words::kBits, Words::kBits, 0, launch_lanes<Bytes>},
      {"narrow_widen", Words::kFloats, Words::kFloats, 0, launch_lanes<Convert>},
      {"narrow_corners", Words::kFloats, Words::kFloats, 0, launch_lanes<ConvertCorners>},
      {"round", Words::kFloats, Words::kFloats, 0, launch_lanes<Round>},
  };
  return all;
}

}  // namespace realm::test
