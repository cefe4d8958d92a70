#include "cpu/weight.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/error.h"

namespace realm::cpu {

CpuWeight::CpuWeight(const WeightBytes& source)
    : Weight(source.dtype, source.rows, source.cols),
      format_(format_of(source.dtype)),
      source_(source) {
  const auto row_bytes = encoded_bytes(format_, static_cast<uint64_t>(source.cols));
  if (!row_bytes || *row_bytes * static_cast<uint64_t>(source.rows) != source.bytes.size()) {
    fail(ErrorCode::kInternal, "a weight of ", source.rows, " x ", source.cols, " ", format_.name,
         " got ", source.bytes.size(), " bytes");
  }
  row_bytes_ = static_cast<int64_t>(*row_bytes);
  if (source.owner) return;
  constexpr std::align_val_t kAlignment{64};
  auto* memory =
      static_cast<std::byte*>(::operator new(std::max<size_t>(source.bytes.size(), 1), kAlignment));
  source_.owner =
      std::shared_ptr<std::byte>(memory, [](std::byte* p) { ::operator delete(p, kAlignment); });
  std::memcpy(memory, source.bytes.data(), source.bytes.size());
  source_.bytes = {memory, source.bytes.size()};
}

void CpuWeight::decode(const Kernels& kernels, int64_t row, int64_t first, int64_t n,
                       float* out) const {
  const std::byte* blocks = source_.bytes.data() + row * row_bytes_ +
                            first / format_.block_elements * format_.block_bytes;
  const auto address = reinterpret_cast<uintptr_t>(blocks);
  if (dtype() == DType::kF16 && address % 2 == 0) {
    return kernels.widen_f16(reinterpret_cast<const uint16_t*>(blocks), out, n);
  }
  if (dtype() == DType::kBF16 && address % 2 == 0) {
    return kernels.widen_bf16(reinterpret_cast<const uint16_t*>(blocks), out, n);
  }
  realm::decode(format_, blocks, out, static_cast<uint64_t>(n));
}

}  // namespace realm::cpu
