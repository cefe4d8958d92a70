// A GGUF file in pieces that need not make sense: what tests and the mutator write. It shares no
// code with csrc/gguf, so that a mistake there is not repeated here. Values are little-endian bytes
// in a std::string.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace realm::test {

template <class T>
std::string le(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

inline std::string counted(std::string_view text) {
  return le<uint64_t>(text.size()) + std::string(text);
}

// Ids of value types, as the specification numbers them.
enum RawType : uint32_t { U8, I8, U16, I16, U32, I32, F32, BOOL, TEXT, ARRAY, U64, I64, F64 };

struct RawKey {
  std::string key;
  uint32_t type = U32;
  std::string value;  // the bytes of the value
};

inline RawKey u32_key(std::string key, uint32_t value) {
  return {std::move(key), U32, le(value)};
}
inline RawKey text_key(std::string key, std::string_view text) {
  return {std::move(key), TEXT, counted(text)};
}
inline RawKey array_key(std::string key, uint32_t element_type, uint64_t count,
                        std::string_view body) {
  return {std::move(key), ARRAY, le(element_type) + le(count) + std::string(body)};
}

struct RawTensor {
  std::string name;
  std::vector<uint64_t> extents;  // in file order: innermost first
  uint32_t type = 0;
  uint64_t offset = 0;  // in the data section
  std::string data;
};

struct RawGguf {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<RawKey> keys;
  std::vector<RawTensor> tensors;
  uint64_t alignment = 32;                    // of the layout, whatever general.alignment says
  std::optional<uint64_t> n_keys, n_tensors;  // said instead of the truth
  std::string tail;

  // Lays the tensors back to back in the order of `tensors`.
  RawGguf& place() {
    uint64_t end = 0;
    for (RawTensor& tensor : tensors) {
      tensor.offset = end;
      end += (tensor.data.size() + alignment - 1) / alignment * alignment;
    }
    return *this;
  }

  std::string bytes() const {
    std::string out = magic + le(version) + le(n_tensors.value_or(tensors.size())) +
                      le(n_keys.value_or(keys.size()));
    for (const RawKey& key : keys) out += counted(key.key) + le(key.type) + key.value;
    for (const RawTensor& tensor : tensors) out += entry(tensor);
    if (tensors.empty()) return out + tail;
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    const size_t data_start = out.size();
    for (const RawTensor& tensor : tensors) put_data(out, data_start, tensor);
    return out + tail;
  }

 private:
  static constexpr uint64_t kLargestFile = uint64_t{1} << 24;  // data that lies farther is left out

  static std::string entry(const RawTensor& tensor) {
    std::string out =
        counted(tensor.name) + le<uint32_t>(static_cast<uint32_t>(tensor.extents.size()));
    for (const uint64_t extent : tensor.extents) out += le(extent);
    return out + le(tensor.type) + le(tensor.offset);
  }

  void put_data(std::string& out, size_t data_start, const RawTensor& tensor) const {
    if (tensor.data.empty() || tensor.offset > kLargestFile) return;
    const size_t begin = data_start + tensor.offset;
    const size_t padded = (tensor.data.size() + alignment - 1) / alignment * alignment;
    if (out.size() < begin + padded) out.resize(begin + padded);
    out.replace(begin, tensor.data.size(), tensor.data);
  }
};

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

}  // namespace realm::test
