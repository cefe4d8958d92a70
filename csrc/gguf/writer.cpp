#include "gguf/writer.h"

#include <array>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/text.h"
#include "gguf/layout.h"
#include "gguf/limits.h"

namespace realm::gguf {

Writer::Writer(const std::string& path, Metadata metadata)
    : layout_(std::move(metadata)), file_(path) {}

void Writer::declare(TensorSpec spec) {
  REALM_CHECK(!header_written_, "tensor ", quoted(spec.name), " is declared after the first data");
  layout_.add(std::move(spec));
}

void Writer::append(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  write_header_once();
  REALM_CHECK(current_ < layout_.n_tensors(), bytes.size(), " bytes beyond the last tensor");
  const uint64_t left = layout_.bytes_of(current_) - current_bytes_;
  REALM_CHECK(bytes.size() <= left, "tensor ", quoted(layout_.name_of(current_)), " has ", left,
              " bytes left, was given ", bytes.size());
  file_.write(bytes);
  current_bytes_ += bytes.size();
  if (bytes.size() == left) end_tensor();
}

void Writer::finish() {
  write_header_once();
  REALM_CHECK(current_ == layout_.n_tensors(), "tensor ", quoted(layout_.name_of(current_)),
              " was declared and not written in full");
  file_.commit();
}

void Writer::write_header_once() {
  if (header_written_) return;
  file_.write(layout_.header());
  header_written_ = true;
}

void Writer::end_tensor() {
  static constexpr std::array<std::byte, kMaxAlignment> kZeros{};
  file_.write(std::span(kZeros).first(layout_.padding(current_bytes_)));
  ++current_;
  current_bytes_ = 0;
}

void write_gguf(const std::string& path, const Metadata& metadata,
                std::span<const TensorData> tensors) {
  Writer writer(path, metadata);
  for (const TensorData& tensor : tensors) writer.declare(tensor.spec);
  for (const TensorData& tensor : tensors) writer.append(tensor.bytes);
  writer.finish();
}

std::vector<std::byte> gguf_bytes(const Metadata& metadata, std::span<const TensorData> tensors) {
  Layout layout(metadata);
  for (const TensorData& tensor : tensors) layout.add(tensor.spec);
  std::vector<std::byte> out = layout.header();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto bytes = tensors[i].bytes;
    REALM_CHECK(bytes.size() == layout.bytes_of(i), "tensor ", quoted(layout.name_of(i)), " has ",
                layout.bytes_of(i), " bytes, was given ", bytes.size());
    out.insert(out.end(), bytes.begin(), bytes.end());
    out.resize(out.size() + layout.padding(bytes.size()));
  }
  return out;
}

}  // namespace realm::gguf
