#include "base/sha256.h"

#include <algorithm>
#include <bit>

#if defined(__x86_64__) && defined(__GNUC__)
#define REALM_HAS_SHA_INSTRUCTIONS
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace realm {

namespace {

alignas(16) constexpr uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

uint32_t load_big_endian(const std::byte* p) {
  const auto at = [&](int i) { return std::to_integer<uint32_t>(p[i]); };
  return at(0) << 24 | at(1) << 16 | at(2) << 8 | at(3);
}

void compress_block(uint32_t* state, const std::byte* block) {
  using std::rotr;
  uint32_t w[64];
  for (int i = 0; i < 16; ++i) w[i] = load_big_endian(block + 4 * i);
  for (int i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (rotr(a, 7) ^ rotr(a, 18) ^ a >> 3) + w[i - 7] +
           (rotr(b, 17) ^ rotr(b, 19) ^ b >> 10);
  }
  uint32_t s[8];
  std::copy_n(state, 8, s);
  for (int i = 0; i < 64; ++i) {
    const uint32_t big_e = rotr(s[4], 6) ^ rotr(s[4], 11) ^ rotr(s[4], 25);
    const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
    const uint32_t first = s[7] + big_e + choice + kRound[i] + w[i];
    const uint32_t big_a = rotr(s[0], 2) ^ rotr(s[0], 13) ^ rotr(s[0], 22);
    const uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    std::copy_backward(s, s + 7, s + 8);
    s[4] += first;
    s[0] = first + big_a + majority;
  }
  for (int i = 0; i < 8; ++i) state[i] += s[i];
}

void compress_portably(uint32_t* state, const std::byte* blocks, size_t n_blocks) {
  for (size_t i = 0; i < n_blocks; ++i) compress_block(state, blocks + 64 * i);
}

#ifdef REALM_HAS_SHA_INSTRUCTIONS

bool has_sha_instructions() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_SHA) != 0;
  constexpr unsigned kNeeded = bit_SSE4_1 | bit_SSSE3;
  return sha && __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & kNeeded) == kNeeded;
}

// The instructions want the state as two vectors, ABEF and CDGH, and do four rounds at a time over
// message words that are made four at a time.
__attribute__((target("sha,sse4.1,ssse3"))) void compress_with_instructions(uint32_t* state,
                                                                            const std::byte* blocks,
                                                                            size_t n_blocks) {
  const auto load = [](const void* p) __attribute__((target("sse4.1"))) {
    return _mm_loadu_si128(static_cast<const __m128i*>(p));
  };
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const __m128i dcba = _mm_shuffle_epi32(load(state), 0xb1);
  const __m128i hgfe = _mm_shuffle_epi32(load(state + 4), 0x1b);
  __m128i abef = _mm_alignr_epi8(dcba, hgfe, 8), cdgh = _mm_blend_epi16(hgfe, dcba, 0xf0);
  for (; n_blocks > 0; --n_blocks, blocks += 64) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i w[4];
    for (int i = 0; i < 16; ++i) {
      if (i < 4) {
        w[i] = _mm_shuffle_epi8(load(blocks + 16 * i), swap);
      } else {
        const __m128i last = w[(i + 3) % 4];
        const __m128i seven_back = _mm_alignr_epi8(last, w[(i + 2) % 4], 4);
        const __m128i partial =
            _mm_add_epi32(_mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]), seven_back);
        w[i % 4] = _mm_sha256msg2_epu32(partial, last);
      }
      const __m128i sum = _mm_add_epi32(w[i % 4], load(kRound + 4 * i));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  const __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state), _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

#endif

}  // namespace

Sha256 Sha256::portable() {
  return Sha256(&compress_portably);
}

Sha256::Sha256() : compress_(&compress_portably) {
#ifdef REALM_HAS_SHA_INSTRUCTIONS
  static const bool fast = has_sha_instructions();
  if (fast) compress_ = &compress_with_instructions;
#endif
}

void Sha256::update(std::span<const std::byte> bytes) {
  n_bytes_ += bytes.size();
  if (n_rest_ > 0) {
    const auto taken = bytes.first(std::min(bytes.size(), kBlockBytes - n_rest_));
    std::copy(taken.begin(), taken.end(), rest_.begin() + static_cast<std::ptrdiff_t>(n_rest_));
    n_rest_ += taken.size();
    bytes = bytes.subspan(taken.size());
    if (n_rest_ < kBlockBytes) return;
    compress_(state_.data(), rest_.data(), 1);
  }
  compress_(state_.data(), bytes.data(), bytes.size() / kBlockBytes);
  const auto rest = bytes.last(bytes.size() % kBlockBytes);
  std::copy(rest.begin(), rest.end(), rest_.begin());
  n_rest_ = rest.size();
}

Sha256Digest Sha256::finish() {
  const uint64_t bits = n_bytes_ * 8;
  std::array<std::byte, 2 * kBlockBytes> end{};
  std::copy_n(rest_.begin(), n_rest_, end.begin());
  end[n_rest_] = std::byte{0x80};
  const size_t n_end = n_rest_ < kBlockBytes - 8 ? kBlockBytes : 2 * kBlockBytes;
  for (size_t i = 0; i < 8; ++i) end[n_end - 1 - i] = static_cast<std::byte>(bits >> 8 * i);
  compress_(state_.data(), end.data(), n_end / kBlockBytes);
  Sha256Digest digest;
  for (size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<std::byte>(state_[i / 4] >> (24 - 8 * (i % 4)));
  }
  return digest;
}

Sha256Digest sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string to_hex(const Sha256Digest& digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : digest) {
    text += kDigits[std::to_integer<size_t>(byte) >> 4];
    text += kDigits[std::to_integer<size_t>(byte) & 15];
  }
  return text;
}

}  // namespace realm
