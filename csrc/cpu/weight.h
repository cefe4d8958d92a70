// A weight in the CPU's memory: packed into panels of sixteen rows (cpu/panels/layout.h), or in the
// file's own row-major layout. Both decode to the same values and multiply to the same bits.
// Immutable once made.
#pragma once

#include <memory>

#include "backend/operands.h"
#include "base/thread_pool.h"
#include "cpu/kernels.h"
#include "cpu/panels/layout.h"
#include "cpu/weight_memory.h"
#include "quant/formats.h"

namespace realm::cpu {

class CpuWeight final : public Weight {
 public:
  // Keeps the file's layout: the bytes where they lie if they have an owner, else a copy.
  CpuWeight(const WeightBytes& source, WeightMemory& memory);
  // Packs with all threads of the pool and keeps nothing of the source.
  CpuWeight(const WeightBytes& source, WeightMemory& memory, ThreadPool& pool);

  // Of the bytes it holds; F64 is packed as the F32 it decodes to.
  const Format& format() const { return *format_; }
  bool is_packed() const { return is_packed_; }

  // Decodes `n` values of `row` from `first` on; both are multiples of the format's block.
  void decode(const Kernels& kernels, int64_t row, int64_t first, int64_t n, float* out) const;

  // ---- for products: one of the two
  int64_t n_blocks() const { return row_bytes_ / format_->block_bytes; }  // in a row
  // Of a packed weight: rows 16 p .. 16 p + 15.
  const uint8_t* panel(int64_t p) const { return data_ + p * panel_bytes_; }
  int64_t panel_stride() const { return panel_bytes_; }
  // Of a weight in the file's layout: row r's blocks from `block` on; null past the last row.
  const std::byte* file_blocks(int64_t r, int64_t block) const;

 private:
  void pack_panel(const PanelLayout& layout, const WeightBytes& source, int64_t p, uint8_t* out);

  const Format* format_;
  int64_t row_bytes_, panel_bytes_ = 0;
  bool is_packed_ = false;
  std::shared_ptr<const void> owner_;
  const uint8_t* data_ = nullptr;
};

inline const CpuWeight& as_cpu(const Weight& weight) {
  return static_cast<const CpuWeight&>(weight);
}

// The layout that a stored format packs into.
const PanelLayout& panel_layout(const Format& format);

}  // namespace realm::cpu
