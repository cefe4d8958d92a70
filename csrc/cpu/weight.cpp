#include "cpu/weight.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace realm::cpu {

namespace {

int64_t checked_row_bytes(const WeightBytes& source) {
  const Format& format = format_of(source.dtype);
  const auto row_bytes = encoded_bytes(format, static_cast<uint64_t>(source.cols));
  if (!row_bytes || *row_bytes * static_cast<uint64_t>(source.rows) != source.bytes.size()) {
    fail(ErrorCode::kInternal, "a weight of ", source.rows, " x ", source.cols, " ", format.name,
         " got ", source.bytes.size(), " bytes");
  }
  return static_cast<int64_t>(*row_bytes);
}

}  // namespace

const PanelLayout& panel_layout(const Format& format) {
  const PanelLayout* layout = find_panel_layout(format.dtype);
  if (!layout) layout = find_float_layout(format.dtype);
  if (!layout) fail(ErrorCode::kInternal, "format ", format.name, " has no panel layout");
  return *layout;
}

CpuWeight::CpuWeight(const WeightBytes& source, WeightMemory& memory)
    : Weight(source.dtype, source.rows, source.cols),
      format_(&format_of(source.dtype)),
      row_bytes_(checked_row_bytes(source)),
      owner_(source.owner),
      data_(reinterpret_cast<const uint8_t*>(source.bytes.data())) {
  if (owner_) return;
  const auto copy = memory.allocate(static_cast<int64_t>(source.bytes.size()));
  std::memcpy(copy.get(), source.bytes.data(), source.bytes.size());
  owner_ = copy;
  data_ = copy.get();
}

CpuWeight::CpuWeight(const WeightBytes& source, WeightMemory& memory, ThreadPool& pool)
    : Weight(source.dtype, source.rows, source.cols),
      format_(&format_of(source.dtype == DType::kF64 ? DType::kF32 : source.dtype)),
      row_bytes_(checked_row_bytes(source) / (source.dtype == DType::kF64 ? 2 : 1)),
      is_packed_(true) {
  const PanelLayout& layout = panel_layout(*format_);
  panel_bytes_ = realm::cpu::panel_bytes(layout, n_blocks());
  const int64_t n_panels = (source.rows + kPanelRows - 1) / kPanelRows;
  const std::shared_ptr<uint8_t> packed = memory.allocate(n_panels * panel_bytes_);
  owner_ = packed;
  data_ = packed.get();
  pool.run(n_panels,
           [&](int64_t p) { pack_panel(layout, source, p, packed.get() + p * panel_bytes_); });
}

void CpuWeight::pack_panel(const PanelLayout& layout, const WeightBytes& source, int64_t p,
                           uint8_t* out) {
  const std::byte* rows[kPanelRows] = {};
  const int64_t n = std::min<int64_t>(kPanelRows, source.rows - p * kPanelRows);
  const auto source_row_bytes = static_cast<int64_t>(source.bytes.size()) / source.rows;
  std::vector<float> decoded;
  if (source.dtype == DType::kF64) decoded.resize(static_cast<size_t>(n * source.cols));
  for (int64_t r = 0; r < n; ++r) {
    rows[r] = source.bytes.data() + (p * kPanelRows + r) * source_row_bytes;
    if (source.dtype != DType::kF64) continue;
    float* row = decoded.data() + r * source.cols;
    realm::decode(format_of(DType::kF64), rows[r], row, static_cast<uint64_t>(source.cols));
    rows[r] = reinterpret_cast<const std::byte*>(row);
  }
  pack(layout, rows, n_blocks(), out);
}

const std::byte* CpuWeight::file_blocks(int64_t r, int64_t block) const {
  if (r >= rows()) return nullptr;
  return reinterpret_cast<const std::byte*>(data_) + r * row_bytes_ + block * format_->block_bytes;
}

void CpuWeight::decode(const Kernels& kernels, int64_t row, int64_t first, int64_t n,
                       float* out) const {
  const int64_t block = first / format_->block_elements, count = n / format_->block_elements;
  const std::byte* blocks = nullptr;
  if (is_packed_) {
    thread_local std::vector<std::byte> bytes;
    bytes.resize(static_cast<size_t>(count) * format_->block_bytes + 1);
    unpack(panel_layout(*format_), panel(row / kPanelRows), n_blocks(),
           static_cast<int>(row % kPanelRows), block, count, bytes.data());
    blocks = bytes.data();
  } else {
    blocks = file_blocks(row, block);
  }
  const auto address = reinterpret_cast<uintptr_t>(blocks);
  if (format_->dtype == DType::kF16 && address % 2 == 0) {
    return kernels.widen_f16(reinterpret_cast<const uint16_t*>(blocks), out, n);
  }
  if (format_->dtype == DType::kBF16 && address % 2 == 0) {
    return kernels.widen_bf16(reinterpret_cast<const uint16_t*>(blocks), out, n);
  }
  realm::decode(*format_, blocks, out, static_cast<uint64_t>(n));
}

}  // namespace realm::cpu
