#include "metal/metal_weight.h"

#include <cstring>

#include "base/error.h"
#include "quant/formats.h"

namespace realm::metal {

namespace {

constexpr uintptr_t kPlaceAlignment = 16;  // of what kernels read

WeightFormat weight_format(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return WeightFormat::kF32;
    case DType::kF16:
      return WeightFormat::kF16;
    case DType::kBF16:
      return WeightFormat::kBF16;
    case DType::kQ4_0:
      return WeightFormat::kQ4_0;
    case DType::kQ8_0:
      return WeightFormat::kQ8_0;
    case DType::kQ4_K:
      return WeightFormat::kQ4_K;
    case DType::kQ5_K:
      return WeightFormat::kQ5_K;
    case DType::kQ6_K:
      return WeightFormat::kQ6_K;
    default:
      fail(ErrorCode::kFormat, "the Metal backend has no kernel for ", format_of(dtype).name,
           " weights; it runs F32, F16, BF16, Q4_0, Q8_0, Q4_K, Q5_K and Q6_K");
  }
}

}  // namespace

MetalWeight::MetalWeight(const WeightBytes& source, std::shared_ptr<Memory> memory)
    : Weight(source.dtype, source.rows, source.cols),
      memory_(std::move(memory)),
      format_(weight_format(source.dtype)) {
  const auto begin = reinterpret_cast<uintptr_t>(source.bytes.data());
  if (source.owner && begin % kPlaceAlignment == 0) {
    // The pages that hold the bytes are the process's, whatever else lies on the first and the
    // last.
    const uintptr_t first = begin / kMappedAlignment * kMappedAlignment;
    const uintptr_t end =
        (begin + source.bytes.size() + kMappedAlignment - 1) / kMappedAlignment * kMappedAlignment;
    place_ = {memory_->device().map_memory(reinterpret_cast<const void*>(first), end - first),
              begin - first};
    if (place_.buffer) owner_ = source.owner;
  }
  if (owner_) return;
  copy_ = std::make_unique<DeviceBuffer>(memory_, source.bytes.size());
  std::memcpy(copy_->data(), source.bytes.data(), source.bytes.size());
  place_ = {copy_->buffer(), 0};
}

MetalWeight::~MetalWeight() {
  if (owner_) memory_->device().free_buffer(place_.buffer);
}

}  // namespace realm::metal
