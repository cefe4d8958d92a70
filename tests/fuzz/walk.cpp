#include "fuzz/walk.h"

#include <cstring>
#include <map>
#include <utility>

namespace realm::test {

namespace {

constexpr uint64_t kAlignment = 32;

// Values and bytes of a block of each format that a base may have.
const std::map<uint32_t, std::pair<uint64_t, uint64_t>> kBlocks = {
    {0, {1, 4}},      {1, {1, 2}},      {2, {32, 18}},   {3, {32, 20}},    {6, {32, 22}},
    {7, {32, 24}},    {8, {32, 34}},    {10, {256, 84}}, {11, {256, 110}}, {12, {256, 144}},
    {13, {256, 176}}, {14, {256, 210}}, {28, {1, 8}},    {30, {1, 2}}};

// Walks over a valid header and notes every field on the way.
class Walker {
 public:
  Walker(const std::string& bytes, RawGguf& raw, std::vector<Field>& fields)
      : bytes_(bytes), raw_(raw), fields_(fields) {}

  // Returns where the header ends.
  uint64_t walk() {
    fields_.push_back({Field::kMagic, 0, 4, ""});
    position_ = 4;
    number(Field::kVersion, 4);
    const uint64_t n_tensors = number(Field::kTensorCount, 8);
    const uint64_t n_keys = number(Field::kKeyCount, 8);
    for (uint64_t i = 0; i < n_keys; ++i) key();
    for (uint64_t i = 0; i < n_tensors; ++i) tensor();
    const uint64_t end = position_;
    const uint64_t data_start = (end + kAlignment - 1) / kAlignment * kAlignment;
    for (RawTensor& tensor : raw_.tensors) take_data(data_start, tensor);
    return end;
  }

 private:
  uint64_t number(Field::Kind kind, uint64_t size) {
    fields_.push_back({kind, position_, size, owner_});
    position_ += size;
    return number_at(bytes_, position_ - size, size);
  }

  std::string text() {
    const uint64_t size = number(Field::kTextLength, 8);
    if (size > 0) fields_.push_back({Field::kText, position_, size, owner_});
    position_ += size;
    return bytes_.substr(position_ - size, size);
  }

  void key() {
    owner_.clear();
    RawKey key;
    key.key = owner_ = text();
    key.type = static_cast<uint32_t>(number(Field::kValueType, 4));
    const uint64_t begin = position_;
    value(key.type);
    key.value = bytes_.substr(begin, position_ - begin);
    raw_.keys.push_back(key);
  }

  void value(uint64_t type) {
    if (type == TEXT) {
      text();
    } else if (type == ARRAY) {
      const uint64_t element_type = number(Field::kElementType, 4);
      const uint64_t n = number(Field::kArrayLength, 8);
      for (uint64_t i = 0; i < n; ++i) value(element_type);
    } else {
      number(type == BOOL ? Field::kBool : Field::kScalar, scalar_bytes(type));
    }
  }

  void tensor() {
    owner_.clear();
    RawTensor tensor;
    tensor.name = owner_ = text();
    const uint64_t rank = number(Field::kRank, 4);
    for (uint64_t i = 0; i < rank; ++i) tensor.extents.push_back(number(Field::kExtent, 8));
    tensor.type = static_cast<uint32_t>(number(Field::kFormat, 4));
    tensor.offset = number(Field::kOffset, 8);
    raw_.tensors.push_back(tensor);
  }

  void take_data(uint64_t data_start, RawTensor& tensor) {
    uint64_t elements = 1;
    for (const uint64_t extent : tensor.extents) elements *= extent;
    const auto [block_elements, block_bytes] = kBlocks.at(tensor.type);
    tensor.data =
        bytes_.substr(data_start + tensor.offset, elements / block_elements * block_bytes);
  }

  const std::string& bytes_;
  RawGguf& raw_;
  std::vector<Field>& fields_;
  std::string owner_;
  uint64_t position_ = 0;
};

}  // namespace

uint64_t number_at(const std::string& bytes, uint64_t offset, uint64_t size) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data() + offset, size);
  return value;
}

uint64_t scalar_bytes(uint64_t type) {
  constexpr uint64_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kBytes[type];
}

uint64_t walk(const std::string& bytes, RawGguf& raw, std::vector<Field>& fields) {
  return Walker(bytes, raw, fields).walk();
}

}  // namespace realm::test
