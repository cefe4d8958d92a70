// Every kernel of the backend by name, with what a launch must bind: the table that the runtime
// launches by. A test compares it with what the shaders declare. The files named beside the kernels
// state their contracts; constants and work division are in params.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "metal/params.h"

namespace realm::metal {

// Families of kernels have one for each format, in the order of WeightFormat, or for each head
// width, in the order of kTiledWidths.
enum class Kernel : int {
  // elementwise.metal
  kAdd,
  kScale,
  kSoftcap,
  kActivate,
  kGate,
  kScaleBySigmoid,
  kGather,
  kRotate,
  // norm.metal: with a simdgroup, or many, for a row
  kRmsNorm,
  kRmsNormNarrow,
  kLayerNorm,
  kLayerNormNarrow,
  // embed.metal
  kEmbed,
  // vector_float.metal, vector_quant.metal
  kVector = kEmbed + 8,
  // matrix.metal
  kMatrix = kVector + 8,
  kKvStore = kMatrix + 8,                 // kv_store.metal
  kAttentionPlain,                        // attention_plain.metal
  kAttentionFlash,                        // attention_flash.metal
  kAttentionSplit = kAttentionFlash + 4,  // attention_split.metal
  kAttentionMerge = kAttentionSplit + 4,
  // experts.metal
  kRoute,
  kSortChoices,
  kScatterRows,
  kCombine,
  // lora.metal
  kLoraShrink,
  kLoraLookUp,
  kLoraExpand,
  kChooseLargest,  // choose.metal
  kCount,
};

enum class WeightFormat : int { kF32, kF16, kBF16, kQ4_0, kQ8_0, kQ4_K, kQ5_K, kQ6_K };

constexpr int kTiledWidths[] = {64, 96, 128, 256};  // wider heads take attention_plain

constexpr Kernel member(Kernel family, int index) {
  return static_cast<Kernel>(static_cast<int>(family) + index);
}

constexpr uint32_t kThreadgroupBytes = 32 << 10;  // that Apple's GPUs have

struct KernelInfo {
  const char* name;          // as the shader source names it
  const char* bindings;      // types in the order of their indices, as the source declares them
  uint32_t threads;          // of a threadgroup
  uint32_t shared_bytes;     // of threadgroup memory: 0 for none
  uint32_t constants_bytes;  // of the last binding: 0 for none
};

const KernelInfo& kernel_info(Kernel kernel);

// The text of all kernels and of the headers that they include (metal/embed_source.cmake).
extern const char* const kKernelSource;

}  // namespace realm::metal
