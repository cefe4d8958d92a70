#include "engine/snapshot.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <type_traits>

#include "base/error.h"

namespace realm {

namespace {

constexpr std::array<char, 8> kMagic{'R', 'L', 'M', 'S', 'N', 'A', 'P', '\n'};
constexpr uint32_t kVersion = 1;

// Writer and Reader have the same verbs, so that one function describes the layout for both.
class Writer {
 public:
  template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void value(T& value) {
    append(std::as_bytes(std::span(&value, 1)));
  }
  void digest(Sha256Digest& digest) { append(digest); }
  void size(size_t& size) {
    auto wide = static_cast<uint64_t>(size);
    value(wide);
  }
  void text(std::string& text) {
    size_t n = text.size();
    size(n);
    append(std::as_bytes(std::span(text)));
  }
  std::vector<std::byte>& bytes() { return bytes_; }

 private:
  void append(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  std::vector<std::byte> bytes_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void value(T& value) {
    std::memcpy(&value, take(sizeof value), sizeof value);
  }
  void value(bool& value) {
    uint8_t byte = 0;
    this->value(byte);
    if (byte > 1) refuse();
    value = byte == 1;
  }
  void digest(Sha256Digest& digest) {
    std::memcpy(digest.data(), take(digest.size()), digest.size());
  }
  // A count of things that take at least a byte each: bounded by what is left.
  void size(size_t& size) {
    uint64_t wide = 0;
    value(wide);
    if (wide > bytes_.size()) refuse();
    size = static_cast<size_t>(wide);
  }
  void text(std::string& text) {
    size_t n = 0;
    size(n);
    text.assign(reinterpret_cast<const char*>(take(n)), n);
  }
  void require_end() const {
    if (!bytes_.empty()) refuse();
  }

 private:
  [[noreturn]] static void refuse() {
    fail(ErrorCode::kFormat, "the snapshot's fields do not fit its length");
  }
  const std::byte* take(size_t n) {
    if (n > bytes_.size()) refuse();
    const std::byte* data = bytes_.data();
    bytes_ = bytes_.subspan(n);
    return data;
  }
  std::span<const std::byte> bytes_;
};

template <class Archive, class T, class Each>
void list(Archive& archive, std::vector<T>& values, Each each) {
  size_t n = values.size();
  archive.size(n);
  values.resize(n);
  for (T& value : values) each(value);
}

template <class Archive, class T>
void numbers(Archive& archive, std::vector<T>& values) {
  list(archive, values, [&](T& value) { archive.value(value); });
}

template <class Archive, class T>
void maybe(Archive& archive, std::optional<T>& value) {
  bool has_value = value.has_value();
  archive.value(has_value);
  if (has_value && !value) value.emplace();
  if (has_value) archive.value(*value);
}

template <class Archive>
void bias(Archive& archive, std::map<int32_t, float>& map) {
  std::vector<std::pair<int32_t, float>> pairs(map.begin(), map.end());
  list(archive, pairs, [&](auto& pair) {
    archive.value(pair.first);
    archive.value(pair.second);
  });
  map = {pairs.begin(), pairs.end()};
}

template <class Archive>
void params(Archive& archive, SamplingParams& p) {
  archive.value(p.max_tokens);
  archive.value(p.temperature);
  archive.value(p.top_k);
  archive.value(p.top_p);
  archive.value(p.min_p);
  archive.value(p.repetition_penalty);
  archive.value(p.presence_penalty);
  archive.value(p.frequency_penalty);
  maybe(archive, p.seed);
  list(archive, p.stop, [&](std::string& stop) { archive.text(stop); });
  numbers(archive, p.stop_token_ids);
  archive.value(p.ignore_eos);
  maybe(archive, p.logprobs);
  bias(archive, p.logit_bias);
}

template <class Archive>
void logprobs(Archive& archive, Logprobs& logprobs) {
  archive.value(logprobs.chosen);
  list(archive, logprobs.top, [&](TokenLogprob& one) {
    archive.value(one.token);
    archive.value(one.logprob);
  });
}

template <class Archive>
void fields(Archive& archive, Snapshot& snapshot) {
  archive.digest(snapshot.engine.model);
  archive.value(snapshot.engine.kv_type);
  archive.digest(snapshot.options.adapters);
  archive.value(snapshot.options.priority);
  numbers(archive, snapshot.options.prompt);
  params(archive, snapshot.options.params);
  numbers(archive, snapshot.answer.tokens);
  list(archive, snapshot.answer.logprobs, [&](Logprobs& one) { logprobs(archive, one); });
  archive.value(snapshot.answer.logits_hash);
}

}  // namespace

std::vector<std::byte> encode(const Snapshot& snapshot) {
  Writer writer;
  for (char letter : kMagic) writer.value(letter);
  uint32_t version = kVersion;
  writer.value(version);
  Snapshot copy = snapshot;
  fields(writer, copy);
  std::vector<std::byte>& bytes = writer.bytes();
  const Sha256Digest digest = sha256(bytes);
  bytes.insert(bytes.end(), digest.begin(), digest.end());
  return std::move(bytes);
}

Snapshot decode_snapshot(std::span<const std::byte> bytes) {
  constexpr size_t kHead = kMagic.size() + sizeof kVersion, kDigest = sizeof(Sha256Digest);
  const bool is_ours = bytes.size() >= kHead + kDigest &&
                       std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
  if (!is_ours) fail(ErrorCode::kFormat, bytes.size(), " bytes that are not a snapshot");
  uint32_t version = 0;
  std::memcpy(&version, bytes.data() + kMagic.size(), sizeof version);
  if (version != kVersion) {
    fail(ErrorCode::kFormat, "a snapshot of version ", version, "; this library reads version ",
         kVersion);
  }
  const auto content = bytes.first(bytes.size() - kDigest);
  if (!std::ranges::equal(sha256(content), bytes.last(kDigest))) {
    fail(ErrorCode::kFormat, "the snapshot is damaged: its digest does not fit its ", bytes.size(),
         " bytes");
  }
  Snapshot snapshot;
  Reader reader(content.subspan(kHead));
  fields(reader, snapshot);
  reader.require_end();
  return snapshot;
}

}  // namespace realm
