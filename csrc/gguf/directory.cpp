#include "gguf/directory.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "base/checked_math.h"
#include "base/text.h"
#include "gguf/cursor.h"
#include "quant/formats.h"

namespace realm::gguf {

namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
// The least bytes that an entry can take, to hold declared counts against the size of the file.
constexpr uint64_t kLeastKeyEntry = 8 + 1 + 4 + 1;
constexpr uint64_t kLeastTensorEntry = 8 + 1 + 4 + 8 + 4 + 8;

class Parser {
 public:
  Parser(const Part& part, uint32_t part_idx) : part_(part), part_idx_(part_idx), cursor_(part) {}

  Directory parse() {
    header();
    for (uint64_t i = 0; i < n_keys_; ++i) key_entry(i);
    choose_alignment();
    directory_.tensors.reserve(n_tensors_);
    directory_.entry_at.reserve(n_tensors_);
    for (uint64_t i = 0; i < n_tensors_; ++i) tensor_entry(i);
    place_tensors();
    return std::move(directory_);
  }

 private:
  void header();
  void check_version(uint32_t version) const;
  uint64_t count(const char* field, uint64_t limit, uint64_t least_bytes);

  void key_entry(uint64_t idx);
  std::string name(const char* kind, uint64_t idx, uint64_t max_bytes);
  ValueType value_type(const char* field);
  Value value(ValueType type);
  Value array();
  Array numbers(ValueType type, uint64_t n);
  StringArray texts(uint64_t n);
  std::string_view text();
  void choose_alignment();

  void tensor_entry(uint64_t idx);
  Shape shape();
  const Format& format();
  uint64_t encoded_size(const Format& format, const Shape& shape, uint64_t at) const;
  void place_tensors();
  void check_tiling();
  [[noreturn]] void refuse_tensor(size_t idx, const std::string& why);

  const Part& part_;
  const uint32_t part_idx_;
  Cursor cursor_;
  Directory directory_;
  uint64_t n_keys_ = 0;
  uint64_t n_tensors_ = 0;
  uint64_t alignment_at_ = 0;
};

// ---- header
// ---------------------------------------------------------------------------------------------

void Parser::header() {
  cursor_.subject("header");
  const auto magic = cursor_.number<uint32_t>("magic");
  if (magic != kMagic) cursor_.refuse(0, "magic ", hex(magic), " is not GGUF's: not a GGUF file");
  directory_.version = cursor_.number<uint32_t>("version");
  check_version(directory_.version);
  n_tensors_ = count("tensor count", kMaxTensors, kLeastTensorEntry);
  n_keys_ = count("key count", kMaxKeys, kLeastKeyEntry);
  if (n_tensors_ == 0 && n_keys_ == 0) {
    cursor_.refuse(8, "tensor count 0 and key count 0: the file is empty");
  }
}

void Parser::check_version(uint32_t version) const {
  if (version == 2 || version == 3) return;
  const uint32_t swapped =
      version >> 24 | (version >> 8 & 0xff00) | (version << 8 & 0xff0000) | version << 24;
  if (swapped >= 1 && swapped <= 3) {
    cursor_.refuse(4, "version ", hex(version), ": big-endian GGUF is not supported");
  }
  if (version == 1) {
    cursor_.refuse(4, "version 1: GGUF version 1 is not supported; convert the model again");
  }
  cursor_.refuse(4, "version ", version, " is not supported; versions 2 and 3 are");
}

uint64_t Parser::count(const char* field, uint64_t limit, uint64_t least_bytes) {
  const uint64_t at = cursor_.position();
  const auto n = cursor_.number<uint64_t>(field);
  if (n > limit) cursor_.refuse(at, field, " ", n, " exceeds the limit of ", limit);
  if (n > cursor_.remaining() / least_bytes) {
    cursor_.refuse(at, field, " ", n, " cannot fit the ", cursor_.remaining(),
                   " bytes that follow");
  }
  return n;
}

// ---- metadata
// -------------------------------------------------------------------------------------------

std::string Parser::name(const char* kind, uint64_t idx, uint64_t max_bytes) {
  const std::string position = concat(kind, " #", idx);
  cursor_.subject(position);
  const uint64_t at = cursor_.position();
  const auto bytes = cursor_.number<uint64_t>("name length");
  if (bytes > max_bytes) {
    cursor_.refuse(at, "name length ", bytes, " exceeds the limit of ", max_bytes);
  }
  const std::string_view text = cursor_.text(bytes, "name");
  if (const char* defect = name_defect(text, max_bytes)) {
    cursor_.refuse(at, "name ", quoted(text), " ", defect);
  }
  cursor_.subject(kind, text);
  return std::string(text);
}

void Parser::key_entry(uint64_t idx) {
  const uint64_t at = cursor_.position();
  const std::string key = name("key", idx, kMaxKeyBytes);
  if (directory_.metadata.find(key) != nullptr) cursor_.refuse(at, "the key occurs twice");
  const ValueType type = value_type("value type");
  if (key == "general.alignment") alignment_at_ = cursor_.position();
  directory_.metadata.set(key, value(type));
}

ValueType Parser::value_type(const char* field) {
  const uint64_t at = cursor_.position();
  const auto id = cursor_.number<uint32_t>(field);
  if (id >= kValueTypeCount) {
    cursor_.refuse(at, field, " ", id, " is unknown; known are 0 to ", kValueTypeCount - 1);
  }
  return static_cast<ValueType>(id);
}

Value Parser::value(ValueType type) {
  if (type == ValueType::kText) return Value(text());
  if (type == ValueType::kArray) return array();
  if (type == ValueType::kBool) {
    const uint64_t at = cursor_.position();
    const auto byte = cursor_.number<uint8_t>("bool");
    if (byte > 1) cursor_.refuse(at, "bool value ", +byte, " is neither 0 nor 1");
    return Value(byte == 1);
  }
  return with_number_type(
      type, [&]<class T>(std::type_identity<T>) { return Value(cursor_.number<T>("value")); });
}

std::string_view Parser::text() {
  const uint64_t at = cursor_.position();
  const auto bytes = cursor_.number<uint64_t>("text length");
  if (bytes > kMaxTextBytes) {
    cursor_.refuse(at, "text length ", bytes, " exceeds the limit of ", kMaxTextBytes);
  }
  return cursor_.text(bytes, "text");
}

Value Parser::array() {
  const uint64_t at = cursor_.position();
  const ValueType type = value_type("array element type");
  if (type == ValueType::kArray) cursor_.refuse(at, "arrays of arrays are not supported");
  const uint64_t count_at = cursor_.position();
  const auto n = cursor_.number<uint64_t>("array length");
  const uint64_t least_bytes = type == ValueType::kText ? sizeof(uint64_t) : bytes_of(type);
  if (n > cursor_.remaining() / least_bytes) {
    cursor_.refuse(count_at, "array length ", n, " of ", name_of(type), " cannot fit the ",
                   cursor_.remaining(), " bytes that follow");
  }
  if (type == ValueType::kText) return Value(texts(n));
  return Value(numbers(type, n));
}

Array Parser::numbers(ValueType type, uint64_t n) {
  const uint64_t at = cursor_.position();
  std::vector<std::byte> bytes(n * bytes_of(type));  // no more than the file has left
  cursor_.copy(bytes, "array");
  if (type == ValueType::kBool) {
    const auto bad = std::ranges::find_if(bytes, [](std::byte b) { return b > std::byte{1}; });
    if (bad != bytes.end()) {
      cursor_.refuse(at + static_cast<uint64_t>(bad - bytes.begin()), "bool value ",
                     std::to_integer<int>(*bad), " is neither 0 nor 1");
    }
  }
  return Array(type, std::move(bytes));
}

StringArray Parser::texts(uint64_t n) {
  StringArray all;
  all.reserve(n);
  for (uint64_t i = 0; i < n; ++i) all.push_back(text());
  return all;
}

void Parser::choose_alignment() {
  directory_.alignment = kDefaultAlignment;
  const Value* value = directory_.metadata.find("general.alignment");
  if (value == nullptr) return;
  cursor_.subject("key", "general.alignment");
  const auto* alignment = std::get_if<uint32_t>(&value->storage());
  if (alignment == nullptr) {
    cursor_.refuse(alignment_at_, "value has type ", name_of(value->type()), ", must be u32");
  }
  if (!is_power_of_two(*alignment) || *alignment < kMinAlignment || *alignment > kMaxAlignment) {
    cursor_.refuse(alignment_at_, "value ", *alignment, " is not a power of two from ",
                   kMinAlignment, " to ", kMaxAlignment);
  }
  directory_.alignment = *alignment;
}

// ---- tensors
// --------------------------------------------------------------------------------------------

void Parser::tensor_entry(uint64_t idx) {
  directory_.entry_at.push_back(cursor_.position());
  TensorInfo& info = directory_.tensors.emplace_back();
  info.name = name("tensor", idx, kMaxNameBytes);
  info.part = part_idx_;
  const uint64_t shape_at = cursor_.position();
  info.shape = shape();
  const Format& weights = format();
  info.dtype = weights.dtype;
  info.bytes = encoded_size(weights, info.shape, shape_at);
  const uint64_t offset_at = cursor_.position();
  info.offset = cursor_.number<uint64_t>("offset");
  if (info.offset % directory_.alignment != 0) {
    cursor_.refuse(offset_at, "offset ", info.offset, " is not a multiple of the alignment ",
                   directory_.alignment);
  }
}

Shape Parser::shape() {
  const uint64_t at = cursor_.position();
  const auto rank = cursor_.number<uint32_t>("rank");
  if (rank < 1 || rank > Shape::kMaxRank) {
    cursor_.refuse(at, "rank ", rank, " is not between 1 and ", Shape::kMaxRank);
  }
  std::array<uint64_t, Shape::kMaxRank> extents{};
  for (uint32_t i = 0; i < rank; ++i) {  // the file has the innermost first
    uint64_t& extent = extents[rank - 1 - i];
    extent = cursor_.number<uint64_t>("extent");
    if (extent == 0) cursor_.refuse(cursor_.position() - sizeof extent, "extent ", i, " is 0");
  }
  const auto shape = Shape::checked({extents.data(), rank});
  if (!shape) {
    std::string text;
    for (uint32_t i = 0; i < rank; ++i) text += concat(i ? ", " : "", extents[i]);
    cursor_.refuse(at, "shape [", text, "] has more than 2^63 - 1 elements");
  }
  return *shape;
}

const Format& Parser::format() {
  const uint64_t at = cursor_.position();
  const auto id = cursor_.number<uint32_t>("weight format");
  if (const Format* found = find_format(id)) return *found;
  if (const char* known = unsupported_format_name(id)) {
    cursor_.refuse(at, "weight format ", id, " (", known, ") is not supported");
  }
  cursor_.refuse(at, "weight format ", id, " is unknown");
}

uint64_t Parser::encoded_size(const Format& format, const Shape& shape, uint64_t at) const {
  if (const auto bytes = tensor_bytes(format, shape)) return *bytes;
  if (shape.row_elements() % format.block_elements != 0) {
    cursor_.refuse(at, "rows of ", shape.row_elements(), " values are not whole blocks of ",
                   format.block_elements, " (", format.name, ")");
  }
  cursor_.refuse(at, "shape ", to_string(shape), " in ", format.name, " exceeds 2^64 bytes");
}

// Offsets into the data section become offsets into the part, where each tensor must lie.
void Parser::place_tensors() {
  if (directory_.tensors.empty()) return;
  const auto data_start = checked_align_up(cursor_.position(), directory_.alignment);
  const uint64_t data_bytes =
      data_start && *data_start <= part_.size() ? part_.size() - *data_start : 0;
  for (size_t i = 0; i < directory_.tensors.size(); ++i) {
    TensorInfo& info = directory_.tensors[i];
    if (!range_fits(info.offset, info.bytes, data_bytes)) {
      refuse_tensor(i, concat("offset ", info.offset, " with ", info.bytes,
                              " bytes exceeds the data section of ", data_bytes, " bytes"));
    }
    info.offset += *data_start;  // both within the part, so no overflow
  }
  check_tiling();
}

// Writers lay tensors back to back with nothing but padding between them, and the reference reader
// insists on it. So does this one: a gap is the only trace of a weight format or extent gone wrong.
void Parser::check_tiling() {
  const auto& tensors = directory_.tensors;
  std::vector<uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::sort(order, {}, [&](uint32_t i) { return std::pair(tensors[i].offset, i); });
  uint64_t end = cursor_.position();
  for (const uint32_t i : order) {
    const uint64_t offset = tensors[i].offset;
    if (offset < end) {
      refuse_tensor(i, concat("its data at ", offset,
                              " overlaps that of another tensor, which ends at ", end));
    }
    const uint64_t padding = -end & (directory_.alignment - 1);
    if (offset - end != padding) {
      refuse_tensor(i, concat("its data at ", offset, " follows ", offset - end,
                              " bytes that belong to no tensor"));
    }
    end = offset + tensors[i].bytes;
  }
}

void Parser::refuse_tensor(size_t idx, const std::string& why) {
  cursor_.subject("tensor", directory_.tensors[idx].name);
  cursor_.refuse(directory_.entry_at[idx], why);
}

}  // namespace

Directory parse_directory(const Part& part, uint32_t part_idx) {
  return Parser(part, part_idx).parse();
}

const char* unsupported_format_name(uint32_t id) {
  constexpr std::pair<uint32_t, const char*> kNames[] = {
      {4, "Q4_2"},        {5, "Q4_3"},      {9, "Q8_1"},        {24, "I8"},
      {25, "I16"},        {26, "I32"},      {27, "I64"},        {31, "Q4_0_4_4"},
      {32, "Q4_0_4_8"},   {33, "Q4_0_8_8"}, {36, "IQ4_NL_4_4"}, {37, "IQ4_NL_4_8"},
      {38, "IQ4_NL_8_8"}, {41, "Q1_0"},     {42, "Q2_0"}};
  const auto* found = std::ranges::find(kNames, id, &std::pair<uint32_t, const char*>::first);
  return found == std::end(kNames) ? nullptr : found->second;
}

}  // namespace realm::gguf
