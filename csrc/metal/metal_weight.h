// A weight as kernels read it: the bytes of its file. Where the file's mapping allows, the device
// reads that very memory, and the weight takes none of its own.
#pragma once

#include "metal/device_memory.h"

namespace realm::metal {

class MetalWeight final : public Weight {
 public:
  // Throws kFormat if no kernel reads the format.
  MetalWeight(const WeightBytes& source, std::shared_ptr<Memory> memory);
  ~MetalWeight() override;
  MetalWeight(const MetalWeight&) = delete;
  MetalWeight& operator=(const MetalWeight&) = delete;

  WeightFormat format() const { return format_; }
  Place place() const { return place_; }
  bool is_mapped() const { return owner_ != nullptr; }

 private:
  const std::shared_ptr<Memory> memory_;
  const WeightFormat format_;
  std::shared_ptr<const void> owner_;   // of mapped bytes
  std::unique_ptr<DeviceBuffer> copy_;  // where they are not mapped
  Place place_;
};

inline const MetalWeight& metal_weight(const Weight& weight) {
  return static_cast<const MetalWeight&>(weight);
}

}  // namespace realm::metal
