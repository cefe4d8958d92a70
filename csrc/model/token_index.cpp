#include "model/token_index.h"

#include <bit>
#include <cstring>
#include <random>

namespace realm {

namespace {

uint64_t random_word() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

struct SipState {
  uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1, v1 = std::rotl(v1, 13), v1 ^= v0, v0 = std::rotl(v0, 32);
    v2 += v3, v3 = std::rotl(v3, 16), v3 ^= v2;
    v0 += v3, v3 = std::rotl(v3, 21), v3 ^= v0;
    v2 += v1, v1 = std::rotl(v1, 17), v1 ^= v2, v2 = std::rotl(v2, 32);
  }
  void absorb(uint64_t word) {
    v3 ^= word;
    round();
    v0 ^= word;
  }
};

}  // namespace

uint64_t keyed_hash(uint64_t key0, uint64_t key1, std::string_view bytes) {
  SipState state{key0 ^ 0x736f6d6570736575, key1 ^ 0x646f72616e646f6d, key0 ^ 0x6c7967656e657261,
                 key1 ^ 0x7465646279746573};
  const char* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; at += 8, left -= 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    state.absorb(word);
  }
  uint64_t last = 0;
  if (left > 0) std::memcpy(&last, at, left);
  state.absorb(last | (static_cast<uint64_t>(bytes.size()) << 56));
  state.v2 ^= 0xff;
  for (int i = 0; i < 3; ++i) state.round();
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

TokenIndex::TokenIndex(const gguf::StringArray& texts, std::optional<Repetition>& repetition)
    : key0_(random_word()), key1_(random_word()) {
  slots_.resize(std::bit_ceil(2 * texts.size() + 1));
  mask_ = slots_.size() - 1;
  for (size_t id = 0; id < texts.size(); ++id) {
    if (texts[id].empty()) continue;
    const uint64_t hash = keyed_hash(key0_, key1_, texts[id]);
    Slot& slot = slots_[slot_of(texts[id], hash, texts)];
    if (slot.id < 0) {
      slot = {static_cast<int32_t>(id), static_cast<uint32_t>(hash >> 32)};
    } else if (!repetition) {
      repetition = Repetition{slot.id, static_cast<int32_t>(id)};
    }
  }
}

std::optional<int32_t> TokenIndex::find(std::string_view text,
                                        const gguf::StringArray& texts) const {
  if (slots_.empty()) return std::nullopt;
  const Slot& slot = slots_[slot_of(text, keyed_hash(key0_, key1_, text), texts)];
  if (slot.id < 0) return std::nullopt;
  return slot.id;
}

// The slot that holds `text`, or the free one where it belongs.
size_t TokenIndex::slot_of(std::string_view text, uint64_t hash,
                           const gguf::StringArray& texts) const {
  const auto tag = static_cast<uint32_t>(hash >> 32);
  size_t i = hash & mask_;
  while (slots_[i].id >= 0 &&
         (slots_[i].tag != tag || texts[static_cast<size_t>(slots_[i].id)] != text)) {
    i = (i + 1) & mask_;
  }
  return i;
}

}  // namespace realm
