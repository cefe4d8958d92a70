// A weight in the CPU's memory, in the file's own row-major layout.
#pragma once

#include "backend/operands.h"
#include "cpu/kernels.h"
#include "quant/formats.h"

namespace realm::cpu {

class CpuWeight final : public Weight {
 public:
  explicit CpuWeight(const WeightBytes& source);

  const Format& format() const { return format_; }
  // Decodes `n` values of `row` from `first` on; both are multiples of the format's block.
  void decode(const Kernels& kernels, int64_t row, int64_t first, int64_t n, float* out) const;

 private:
  const Format& format_;
  WeightBytes source_;
  int64_t row_bytes_;
};

inline const CpuWeight& as_cpu(const Weight& weight) {
  return static_cast<const CpuWeight&>(weight);
}

}  // namespace realm::cpu
