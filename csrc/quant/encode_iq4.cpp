// Encoders of IQ4_NL and IQ4_XS: four-bit quants that index sixteen unevenly spaced levels, dense
// around 0.
#include "quant/blocks.h"
#include "quant/codebooks.h"
#include "quant/encode_block.h"
#include "quant/encode_scale.h"
#include "quant/encoders.h"

namespace realm {

namespace {

using namespace search;

constexpr int kSub = 32;
constexpr int kSubs = kSuperBlock / kSub;

// The levels behind a table by position. Levels change half way between two neighbours, always at a
// multiple of 0.5, so the cells [k / 2, (k + 1) / 2) never straddle a change and the look-up is
// exact.
class CodebookGrid {
 public:
  Candidates peak_levels{};

  constexpr CodebookGrid() {
    for (size_t cell = 0; cell < kCells; ++cell) {
      const float centre = (static_cast<float>(cell) + 0.5f) / 2 - kOrigin;
      size_t best = 0;
      for (size_t q = 1; q < 16; ++q) {
        if (distance(centre, q) < distance(centre, best)) best = q;
      }
      quant_[cell] = static_cast<uint8_t>(best);
      level_[cell] = kLevelsIQ4[best];
    }
    // The ends differ, -127 and 113, so that the sign of a scale decides more than which end clips.
    for (size_t c = 0; c < kCandidates; ++c) {
      peak_levels[c] = search::peak_level(kLevelsIQ4[c % 2 == 0 ? 0 : 15], c / 2, kCandidates / 2);
    }
  }

  void sum_levels(const float* x, int n, const Candidates& inverse, Candidates& xq,
                  Candidates& qq) const {
    xq = qq = {};
    for (int i = 0; i < n; ++i) {
      for (size_t c = 0; c < kCandidates; ++c) {
        const float q = level_[cell_of(x[i] * inverse[c])];
        xq[c] += x[i] * q;
        qq[c] += q * q;
      }
    }
  }

  size_t least_error(const float* x, int n, const Candidates& scale) const {
    Candidates inverse, errors{};
    for (size_t c = 0; c < kCandidates; ++c) inverse[c] = 1 / scale[c];
    for (int i = 0; i < n; ++i) {
      for (size_t c = 0; c < kCandidates; ++c) {
        const float y = x[i] * inverse[c];
        const float error = level_[cell_of(y)] - y;  // in steps of the scale
        errors[c] += error * error;
      }
    }
    for (size_t c = 0; c < kCandidates; ++c) errors[c] *= scale[c] * scale[c];
    return static_cast<size_t>(std::min_element(errors.begin(), errors.end()) - errors.begin());
  }

  uint8_t quant(float y) const { return quant_[cell_of(y)]; }

 private:
  static constexpr size_t kCells = 512;
  static constexpr int kOrigin = 128;

  static constexpr float distance(float y, size_t q) {
    const float difference = y - kLevelsIQ4[q];
    return difference < 0 ? -difference : difference;
  }

  static size_t cell_of(float y) {
    constexpr float kLast = kCells - 1;
    float position = (y + kOrigin) * 2;
    position = position < 0 ? 0 : position;
    position = position > kLast ? kLast : position;
    return static_cast<size_t>(static_cast<int>(position));
  }

  std::array<uint8_t, kCells> quant_{};
  std::array<float, kCells> level_{};
};

constexpr CodebookGrid kGrid;

void pack_quants(const float* x, float scale, uint8_t* bytes) {
  const float inverse = inverse_or_zero(scale);
  uint8_t q[kSub];
  for (int i = 0; i < kSub; ++i) q[i] = kGrid.quant(x[i] * inverse);
  pack_nibbles(q, kSub / 2, bytes);
}

void encode_block(const float* x, BlockIQ4_NL& block) {
  float values[kSub];
  for (int i = 0; i < kSub; ++i) values[i] = std::clamp(x[i], -kReach, kReach);
  const float d = storable_scale(fit_scale<kSub>(kGrid, values));
  block.d = f32_to_f16(d);
  pack_quants(values, d, block.qs);
}

void encode_block(const float* x, BlockIQ4_XS& block) {
  float values[kSuperBlock];
  copy_within_reach(x, 1, values);
  const auto code = search_scales<kSubs>(kGrid, values, -32, 31);
  block = {};
  block.d = f32_to_f16(code.d);
  for (size_t j = 0; j < kSubs; ++j) {
    const int bits = code.scale[j] + 32;
    block.scales_l[j / 2] |= static_cast<uint8_t>((bits & 15) << (4 * (j % 2)));
    block.scales_h |= static_cast<uint16_t>((bits >> 4) << (2 * j));
    const float scale = code.d * static_cast<float>(code.scale[j]);
    pack_quants(values + kSub * j, scale, block.qs + kSub / 2 * j);
  }
}

}  // namespace

void encode_iq4_nl(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_each<kSub, BlockIQ4_NL>(in, blocks, n_blocks, encode_block);
}

void encode_iq4_xs(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_each<kSuperBlock, BlockIQ4_XS>(in, blocks, n_blocks, encode_block);
}

}  // namespace realm
