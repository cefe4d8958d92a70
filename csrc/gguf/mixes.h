// Which format each tensor gets when a model is quantized: the table of targets and the reference
// quantizer's rules (llama.cpp's, without an importance matrix; the same choices for every tensor
// of the models compared). Pure functions over names and shapes.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "gguf/metadata.h"
#include "gguf/reader.h"
#include "tensor/dtype.h"

namespace realm::gguf {

// How much a mix spends above its base format.
enum class MixGrade { kPlain, kSmall, kMedium, kLarge };

struct Mix {
  const char* name;    // "Q4_K_M", as users write it
  uint32_t file_type;  // value of general.file_type
  DType base;          // format of a matrix that no rule singles out
  MixGrade grade;
};

std::span<const Mix> all_mixes();
// By name, ignoring case; "Q4_K" is Q4_K_M, and so for Q3_K and Q5_K. Null when there is none.
const Mix* find_mix(std::string_view name);

// The format of each tensor under `mix`, in the order of `tensors`. Vectors, norms and the like
// keep the one they have. With `pure`, every matrix gets mix.base as far as its row length allows.
std::vector<DType> plan_mix(const Mix& mix, bool pure, const Metadata& metadata,
                            std::span<const TensorInfo> tensors);

}  // namespace realm::gguf
