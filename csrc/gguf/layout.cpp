#include "gguf/layout.h"

#include <algorithm>
#include <cstring>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/text.h"
#include "gguf/limits.h"
#include "quant/formats.h"

namespace realm::gguf {

namespace {

constexpr uint32_t kVersion = 3;

uint32_t alignment_of(const Metadata& metadata) {
  const Value* value = metadata.find("general.alignment");
  if (value == nullptr) return kDefaultAlignment;
  const auto* alignment = std::get_if<uint32_t>(&value->storage());
  const bool valid = alignment != nullptr && is_power_of_two(*alignment) &&
                     *alignment >= kMinAlignment && *alignment <= kMaxAlignment;
  REALM_CHECK(valid, "general.alignment must be a u32 power of two from ", kMinAlignment, " to ",
              kMaxAlignment, ", is ", name_of(value->type()), " ", to_string(*value));
  return *alignment;
}

uint64_t checked_bytes(const TensorSpec& spec) {
  const Format& format = format_of(spec.dtype);
  const bool rank_valid = spec.shape.rank() >= 1 && spec.shape.elements() > 0;
  REALM_CHECK(rank_valid, "tensor ", quoted(spec.name), ": shape ", to_string(spec.shape),
              " must have 1 to ", Shape::kMaxRank, " extents, none of them 0");
  const auto bytes = tensor_bytes(format, spec.shape);
  REALM_CHECK(bytes, "tensor ", quoted(spec.name), ": shape ", to_string(spec.shape),
              " is not whole rows of ", format.name, " blocks of ", format.block_elements);
  return *bytes;
}

// Appends to a byte buffer in file order.
class Bytes {
 public:
  template <class T>
    requires std::is_arithmetic_v<T>
  void number(T value) {
    raw(std::as_bytes(std::span(&value, 1)));
  }
  void text(std::string_view text) {
    number<uint64_t>(text.size());
    raw(std::as_bytes(std::span(text)));
  }
  void value(const Value& value) {
    std::visit([this](const auto& held) { put(held); }, value.storage());
  }
  void pad(uint64_t n) { bytes_.resize(bytes_.size() + n); }
  uint64_t size() const { return bytes_.size(); }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  template <class T>
    requires std::is_arithmetic_v<T>
  void put(T value) {
    number(value);
  }
  void put(const std::string& value) { text(value); }
  void put(const Array& array) {
    number(static_cast<uint32_t>(array.element_type()));
    number<uint64_t>(array.size());
    raw(array.bytes());
  }
  void put(const StringArray& texts) {
    number(static_cast<uint32_t>(ValueType::kText));
    number<uint64_t>(texts.size());
    for (size_t i = 0; i < texts.size(); ++i) text(texts[i]);
  }
  void raw(std::span<const std::byte> data) {
    const size_t end = bytes_.size();
    bytes_.resize(end + data.size());
    std::copy(data.begin(), data.end(), bytes_.data() + end);
  }

  std::vector<std::byte> bytes_;
};

}  // namespace

Layout::Layout(Metadata metadata)
    : metadata_(std::move(metadata)), alignment_(alignment_of(metadata_)) {}

uint64_t Layout::padding(uint64_t bytes) const {
  return -bytes & (alignment_ - 1);
}

void Layout::add(TensorSpec spec) {
  const char* defect = name_defect(spec.name, kMaxNameBytes);
  REALM_CHECK(defect == nullptr, "tensor name ", quoted(spec.name), " ", defect);
  REALM_CHECK(!names_.contains(spec.name), "tensor ", quoted(spec.name), " is declared twice");
  const uint64_t bytes = checked_bytes(spec);
  const auto end = checked_add(data_bytes_, bytes);
  const auto padded = end ? checked_align_up(*end, alignment_) : std::nullopt;
  REALM_CHECK(padded, "tensor ", quoted(spec.name), ": ", bytes, " bytes make the file too large");
  names_.insert(spec.name);
  tensors_.push_back({std::move(spec), data_bytes_, bytes});
  data_bytes_ = *padded;
}

std::vector<std::byte> Layout::header() const {
  REALM_CHECK(!metadata_.empty() || !tensors_.empty(), "a GGUF file needs a key or a tensor");
  Bytes out;
  out.number(uint32_t{0x46554747});  // "GGUF"
  out.number(kVersion);
  out.number<uint64_t>(tensors_.size());
  out.number<uint64_t>(metadata_.size());
  for (const auto& [key, value] : metadata_) {
    out.text(key);
    out.number(static_cast<uint32_t>(value.type()));
    out.value(value);
  }
  for (const Placed& tensor : tensors_) {
    const auto extents = tensor.spec.shape.extents();
    out.text(tensor.spec.name);
    out.number(static_cast<uint32_t>(extents.size()));
    for (size_t i = extents.size(); i-- > 0;) out.number(extents[i]);
    out.number(static_cast<uint32_t>(tensor.spec.dtype));
    out.number(tensor.offset);
  }
  if (!tensors_.empty()) out.pad(padding(out.size()));
  return out.take();
}

}  // namespace realm::gguf
