#include "cpp/product_law.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "base/half.h"

namespace realm::test {

namespace {

// Where a block keeps its scales, and what makes its values integers.
struct Scales {
  DType dtype;
  int d = -1, min = -1;  // offsets of half floats
  float one = 1;         // the scale at which values are the law's integers
  bool fine = false;     // a scale of activations for each 32 values
};

constexpr Scales kScales[] = {
    {DType::kQ4_0, 0, -1, 1, true},     {DType::kQ4_1, 0, 2, 1, true},
    {DType::kQ5_0, 0, -1, 1, true},     {DType::kQ5_1, 0, 2, 1, true},
    {DType::kQ8_0, 0, -1, 1, true},     {DType::kIQ4_NL, 0, -1, 1, true},
    {DType::kMXFP4, -1, -1, 1, true},   {DType::kNVFP4, -1, -1, 1, true},
    {DType::kQ2_K, 80, 82, 1, false},   {DType::kQ3_K, 108, -1, 1, false},
    {DType::kQ4_K, 0, 2, 1, false},     {DType::kQ5_K, 0, 2, 1, false},
    {DType::kQ6_K, 208, -1, 1, false},  {DType::kQ8_K, -1, -1, 1, false},
    {DType::kIQ2_XXS, 0, -1, 8, false}, {DType::kIQ2_XS, 0, -1, 8, false},
    {DType::kIQ2_S, 0, -1, 8, false},   {DType::kIQ3_XXS, 0, -1, 4, false},
    {DType::kIQ3_S, 0, -1, 1, false},   {DType::kIQ1_S, 0, -1, 8, false},
    {DType::kIQ1_M, -1, -1, 8, false},  {DType::kIQ4_XS, 134, -1, 1, false},
    {DType::kTQ1_0, 52, -1, 1, false},  {DType::kTQ2_0, 64, -1, 1, false},
};

const Scales* scales_of(DType dtype) {
  for (const Scales& scales : kScales) {
    if (scales.dtype == dtype) return &scales;
  }
  return nullptr;
}

// IQ4_XS keeps its scale first, as the others do.
int d_offset(const Scales& scales) {
  return scales.dtype == DType::kIQ4_XS ? 0 : scales.d;
}

void put_half(std::byte* at, float value) {
  const uint16_t half = f32_to_f16(value);
  std::memcpy(at, &half, 2);
}

float get_half(const std::byte* at) {
  uint16_t half;
  std::memcpy(&half, at, 2);
  return f16_to_f32(half);
}

// d of IQ1_M: nibbles in the tops of four words.
void put_iq1_m(std::byte* block, float value) {
  const uint16_t half = f32_to_f16(value);
  for (int i = 0; i < 4; ++i) {
    auto& top = reinterpret_cast<uint8_t&>(block[48 + 2 * i + 1]);
    top = static_cast<uint8_t>((top & 15) | (half >> (4 * i) & 15) << 4);
  }
}

float get_iq1_m(const std::byte* block) {
  int bits = 0;
  for (int i = 0; i < 4; ++i) bits |= static_cast<int>(block[48 + 2 * i + 1]) >> 4 << (4 * i);
  return f16_to_f32(static_cast<uint16_t>(bits));
}

void put_scale(const Scales& scales, std::byte* block, float value) {
  if (scales.dtype == DType::kIQ1_M) return put_iq1_m(block, value);
  if (scales.dtype == DType::kQ8_K) return void(std::memcpy(block, &value, 4));
  put_half(block + d_offset(scales), value);
}

float get_scale(const Scales& scales, const std::byte* block) {
  float value;
  if (scales.dtype == DType::kIQ1_M) return get_iq1_m(block);
  if (scales.dtype == DType::kQ8_K) return std::memcpy(&value, block, 4), value;
  return get_half(block + d_offset(scales));
}

// Half the values of the scale bytes of MXFP4 and NVFP4, whose levels are doubled.
float half_e8m0(uint8_t e) {
  return std::ldexp(1.0f, e - 128);
}
float half_ue4m3(uint8_t x) {
  const int exponent = x >> 3 & 15;
  const float mantissa = static_cast<float>(x & 7) / 8;
  if (x == 0x7f) return 0;
  return exponent ? std::ldexp(1 + mantissa, exponent - 8) : std::ldexp(mantissa, -7);
}

struct Quantized {
  std::vector<int> q;
  std::vector<float> d;  // of each span
};

Quantized quantize(const float* x, int64_t n, int64_t span) {
  Quantized out;
  for (int64_t at = 0; at < n; at += span) {
    float top = 0;
    bool finite = true;
    for (int64_t i = at; i < at + span; ++i) {
      top = std::max(top, std::abs(x[i]));
      finite = finite && std::isfinite(x[i]);
    }
    const bool usable = finite && top >= 1e-30f;
    out.d.push_back(!finite ? std::numeric_limits<float>::quiet_NaN() : usable ? top / 127 : 0);
    for (int64_t i = at; i < at + span; ++i) {
      const float scaled = usable ? x[i] * (127.0f / top) : 0;
      out.q.push_back(static_cast<int>(std::nearbyint(scaled)));
    }
  }
  return out;
}

// One block with its scales replaced, decoded to exact integers.
std::vector<float> decoded_with(const Format& format, const Scales& scales, const std::byte* block,
                                float d, float min) {
  std::vector<std::byte> copy(block, block + format.block_bytes);
  if (format.dtype == DType::kMXFP4) {
    copy[0] = std::byte{128};
  } else if (format.dtype == DType::kNVFP4) {
    std::fill_n(copy.begin(), 4, std::byte{8 << 3});
  } else {
    put_scale(scales, copy.data(), d);
  }
  if (scales.min >= 0) put_half(copy.data() + scales.min, min);
  std::vector<float> values(format.block_elements);
  decode(format, copy.data(), values.data(), values.size());
  return values;
}

// Sub-blocks of `width` values of a superblock: exact integer dots, times integer scales (which
// decoding has multiplied in), summed in order in f32, each half of the superblock by itself; then
// the minimums, then the float scales.
float super_block(const Format& format, const Scales& scales, const std::byte* block, int width,
                  const int* q, float act_d, float acc) {
  const std::vector<float> w = decoded_with(format, scales, block, scales.one, 0);
  float total = 0, half = 0;
  for (int at = 0; at < 256; at += width) {
    int64_t dot = 0;
    for (int k = at; k < at + width; ++k) {
      dot += static_cast<int64_t>(w[static_cast<size_t>(k)]) * q[k];
    }
    half = static_cast<float>(static_cast<double>(half) + static_cast<double>(dot));
    if ((at + width) % 128 != 0) continue;
    total += half;
    half = 0;
  }
  float y = total * (get_scale(scales, block) / scales.one);
  if (scales.min >= 0) {
    const std::vector<float> mins = decoded_with(format, scales, block, 0, 1);
    int64_t sum = 0;
    for (int k = 0; k < 256; ++k) sum -= static_cast<int64_t>(mins[static_cast<size_t>(k)]) * q[k];
    y = std::fma(-static_cast<float>(sum), get_half(block + scales.min), y);
  }
  return std::fma(y, act_d, acc);
}

float fine_block(const Format& format, const Scales& scales, const std::byte* block, const int* q,
                 const float* act_d, float acc) {
  const std::vector<float> w = decoded_with(format, scales, block, 1, 0);
  const int width = format.dtype == DType::kNVFP4 ? 16 : 32;
  for (int at = 0; at < static_cast<int>(w.size()); at += width) {
    int dot = 0, sum = 0;
    for (int k = at; k < at + width; ++k) {
      dot += static_cast<int>(w[static_cast<size_t>(k)]) * q[k];
      sum += q[k];
    }
    const float a = act_d[at / 32];
    float d;
    if (format.dtype == DType::kMXFP4) {
      d = half_e8m0(static_cast<uint8_t>(block[0]));
    } else if (format.dtype == DType::kNVFP4) {
      d = half_ue4m3(static_cast<uint8_t>(block[at / 16]));
    } else {
      d = get_scale(scales, block);
    }
    acc = std::fma(static_cast<float>(dot), d * a, acc);
    if (scales.min >= 0) {
      acc = std::fma(get_half(block + scales.min), a * static_cast<float>(sum), acc);
    }
  }
  return acc;
}

int sub_block_width(DType dtype) {
  for (const DType wide :
       {DType::kQ4_K, DType::kQ5_K, DType::kIQ4_XS, DType::kIQ2_XXS, DType::kIQ3_XXS, DType::kIQ3_S,
        DType::kIQ1_S, DType::kQ8_K, DType::kTQ1_0, DType::kTQ2_0}) {
    if (dtype == wide) return 32;
  }
  return 16;
}

float float_row(const Format& format, const std::byte* row, int64_t cols, const float* x) {
  std::vector<float> w(static_cast<size_t>(cols));
  decode(format, row, w.data(), w.size());
  float acc = 0;
  for (int64_t k = 0; k < cols; ++k) acc = std::fma(x[k], w[static_cast<size_t>(k)], acc);
  return acc;
}

}  // namespace

std::vector<std::byte> random_weight(const Format& format, int64_t rows, int64_t cols,
                                     unsigned seed) {
  std::mt19937 random(seed);
  const auto bytes = encoded_bytes(format, static_cast<uint64_t>(rows * cols)).value();
  std::vector<std::byte> out(bytes);
  for (std::byte& byte : out) byte = static_cast<std::byte>(random());
  std::uniform_real_distribution<float> small(-0.02f, 0.02f);
  if (format.block_elements == 1) {
    std::vector<float> values(static_cast<size_t>(rows * cols));
    for (float& value : values) value = small(random);
    encode(format, values.data(), out.data(), values.size());
    return out;
  }
  const Scales& scales = *scales_of(format.dtype);
  for (size_t at = 0; at < bytes; at += format.block_bytes) {
    std::byte* block = out.data() + at;
    if (format.dtype == DType::kMXFP4) {
      block[0] = static_cast<std::byte>(random() % 8 ? 115 + random() % 8 : random() % 3);
    } else if (format.dtype != DType::kNVFP4) {
      put_scale(scales, block, small(random));
    }
    if (scales.min >= 0) put_half(block + scales.min, small(random));
  }
  return out;
}

std::vector<float> product_by_the_law(const Format& format, const std::vector<std::byte>& weight,
                                      int64_t rows, int64_t cols, const std::vector<float>& x) {
  const auto n_inputs = static_cast<int64_t>(x.size()) / cols;
  const int64_t n_blocks = cols / format.block_elements;
  const Scales* scales = scales_of(format.dtype);
  std::vector<float> out;
  for (int64_t m = 0; m < n_inputs; ++m) {
    const float* in = x.data() + m * cols;
    const Quantized a = scales ? quantize(in, cols, scales->fine ? 32 : 256) : Quantized{};
    for (int64_t n = 0; n < rows; ++n) {
      const std::byte* row = weight.data() + n * n_blocks * format.block_bytes;
      float acc = scales ? 0 : float_row(format, row, cols, in);
      for (int64_t b = 0; scales && b < n_blocks; ++b) {
        const std::byte* block = row + b * format.block_bytes;
        const int64_t k = b * format.block_elements;
        acc = scales->fine
                  ? fine_block(format, *scales, block, &a.q[static_cast<size_t>(k)],
                               &a.d[static_cast<size_t>(k / 32)], acc)
                  : super_block(format, *scales, block, sub_block_width(format.dtype),
                                &a.q[static_cast<size_t>(k)], a.d[static_cast<size_t>(b)], acc);
      }
      out.push_back(acc);
    }
  }
  return out;
}

std::vector<double> product_in_double(const Format& format, const std::vector<std::byte>& weight,
                                      int64_t rows, int64_t cols, const std::vector<float>& x,
                                      std::vector<double>* magnitude) {
  std::vector<float> w(static_cast<size_t>(rows * cols));
  decode(format, weight.data(), w.data(), w.size());
  std::vector<double> out;
  for (size_t m = 0; m < x.size(); m += static_cast<size_t>(cols)) {
    for (size_t n = 0; n < w.size(); n += static_cast<size_t>(cols)) {
      double sum = 0, size = 0;
      for (size_t k = 0; k < static_cast<size_t>(cols); ++k) {
        const double term = double(w[n + k]) * x[m + k];
        sum += term;
        size += std::abs(term);
      }
      out.push_back(sum);
      if (magnitude) magnitude->push_back(size);
    }
  }
  return out;
}

}  // namespace realm::test
