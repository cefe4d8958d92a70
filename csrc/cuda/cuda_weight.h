// A weight in a device's memory, packed as packed_weight.h says.
#pragma once

#include "cuda/device_memory.h"
#include "cuda/pack_weight.h"

namespace realm::cuda {

class CudaWeight final : public Weight {
 public:
  CudaWeight(const WeightBytes& source, const PackedBytes& packed, int device, Stream stream)
      : Weight(source.dtype, source.rows, source.cols),
        memory_(device, packed.bytes.size()),
        packed_(packed.at(memory_.data(), source.cols)) {
    copy_to_device(memory_.data(), packed.bytes.data(), packed.bytes.size(), stream);
  }

  const PackedWeight& packed() const { return packed_; }

 private:
  DeviceBuffer memory_;
  PackedWeight packed_;
};

inline const PackedWeight& packed_of(const Weight& weight) {
  return static_cast<const CudaWeight&>(weight).packed();
}

}  // namespace realm::cuda
