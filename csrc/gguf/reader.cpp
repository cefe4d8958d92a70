#include "gguf/reader.h"

#include <algorithm>
#include <numeric>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/text.h"
#include "gguf/directory.h"
#include "gguf/part.h"
#include "gguf/split.h"
#include "quant/formats.h"

namespace realm::gguf {

namespace {

// Encoded bytes that a decoding read holds at once.
constexpr uint64_t kDecodeChunkBytes = uint64_t{1} << 20;

void check_rows(const TensorInfo& info, uint64_t first_row, uint64_t n_rows) {
  REALM_CHECK(range_fits(first_row, n_rows, info.shape.rows()), "tensor ", quoted(info.name),
              " has ", info.shape.rows(), " rows, asked for ", n_rows, " from row ", first_row);
}

uint64_t row_bytes(const TensorInfo& info) {
  return info.bytes / info.shape.rows();
}

}  // namespace

GgufFile::~GgufFile() = default;

std::shared_ptr<const GgufFile> GgufFile::open(const std::string& path) {
  std::shared_ptr<GgufFile> file(new GgufFile);
  file->adopt_first(std::make_unique<Part>(path));
  file->adopt_siblings(path);
  file->index_names();
  return file;
}

std::shared_ptr<const GgufFile> GgufFile::from_bytes(std::span<const std::byte> bytes,
                                                     std::shared_ptr<const void> owner) {
  std::shared_ptr<GgufFile> file(new GgufFile);
  file->adopt_first(std::make_unique<Part>(bytes, std::move(owner)));
  file->adopt_siblings({});
  file->index_names();
  return file;
}

void GgufFile::adopt_first(std::unique_ptr<Part> part) {
  Directory directory = parse_directory(*part, 0);
  version_ = directory.version;
  alignment_ = directory.alignment;
  metadata_ = std::move(directory.metadata);
  tensors_ = std::move(directory.tensors);
  parts_.push_back(std::move(part));
}

void GgufFile::adopt_siblings(const std::string& path) {
  const SplitInfo split = split_info(metadata_, parts_[0]->label());
  if (split.n_parts <= 1) return;
  const std::vector<std::string> siblings = sibling_paths(split, path, parts_[0]->label());
  for (uint32_t i = 1; i < split.n_parts; ++i) {
    auto part = std::make_unique<Part>(siblings[i]);
    Directory directory = parse_directory(*part, i);
    check_sibling(split, split_info(directory.metadata, part->label()), i, part->label());
    std::ranges::move(directory.tensors, std::back_inserter(tensors_));
    parts_.push_back(std::move(part));
  }
  check_tensor_total(split, tensors_.size(), parts_[0]->label());
}

void GgufFile::index_names() {
  by_name_.resize(tensors_.size());
  std::iota(by_name_.begin(), by_name_.end(), 0u);
  const auto name = [&](uint32_t i) -> std::string_view { return tensors_[i].name; };
  std::ranges::sort(by_name_, {}, name);
  const auto twin = std::ranges::adjacent_find(by_name_, {}, name);
  if (twin == by_name_.end()) return;
  const TensorInfo& a = tensors_[twin[0]];
  const TensorInfo& b = tensors_[twin[1]];
  fail(ErrorCode::kFormat, parts_[a.part]->label(), ": tensor ", quoted(a.name),
       ": the name occurs twice, with data at byte ", a.offset, " and at byte ", b.offset,
       a.part == b.part ? "" : " of another part");
}

const TensorInfo* GgufFile::find(std::string_view name) const {
  const auto key = [&](uint32_t i) -> std::string_view { return tensors_[i].name; };
  const auto found = std::ranges::lower_bound(by_name_, name, {}, key);
  if (found == by_name_.end() || key(*found) != name) return nullptr;
  return &tensors_[*found];
}

uint64_t GgufFile::file_bytes() const {
  uint64_t total = 0;
  for (const auto& part : parts_) total += part->size();
  return total;
}

void GgufFile::read(const TensorInfo& info, std::span<std::byte> out) const {
  REALM_CHECK(out.size() == info.bytes, "tensor ", quoted(info.name), " has ", info.bytes,
              " bytes, the buffer ", out.size());
  read_at(info, 0, out);
}

void GgufFile::read_at(const TensorInfo& info, uint64_t offset, std::span<std::byte> out) const {
  REALM_CHECK(range_fits(offset, out.size(), info.bytes), "tensor ", quoted(info.name), " has ",
              info.bytes, " bytes, asked for ", out.size(), " from byte ", offset);
  parts_[info.part]->read_at(info.offset + offset, out);
}

void GgufFile::read_f32(const TensorInfo& info, float* out) const {
  read_rows_f32(info, 0, info.shape.rows(), out);
}

// Rows lie back to back in whole blocks, so chunks of blocks need not respect them: a single row of
// a gigabyte costs no more memory than many short ones.
void GgufFile::read_rows_f32(const TensorInfo& info, uint64_t first_row, uint64_t n_rows,
                             float* out) const {
  check_rows(info, first_row, n_rows);
  const Format& format = format_of(info.dtype);
  const uint64_t chunk_blocks = std::max<uint64_t>(1, kDecodeChunkBytes / format.block_bytes);
  uint64_t offset = first_row * row_bytes(info);
  uint64_t blocks_left = n_rows * row_bytes(info) / format.block_bytes;
  std::vector<std::byte> chunk(std::min(chunk_blocks, blocks_left) * format.block_bytes);
  while (blocks_left > 0) {
    const uint64_t n_blocks = std::min(chunk_blocks, blocks_left);
    const std::span bytes(chunk.data(), n_blocks * format.block_bytes);
    read_at(info, offset, bytes);
    decode(format, bytes.data(), out, n_blocks * format.block_elements);
    out += n_blocks * format.block_elements;
    offset += bytes.size();
    blocks_left -= n_blocks;
  }
}

bool GgufFile::in_memory(const TensorInfo& info) const {
  return parts_[info.part]->in_memory();
}

std::span<const std::byte> GgufFile::view(const TensorInfo& info) const {
  return parts_[info.part]->bytes().subspan(info.offset, info.bytes);
}

}  // namespace realm::gguf
