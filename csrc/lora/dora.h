// Rows of a changed weight: what merging writes and DoRA measures. Pure functions.
#pragma once

#include <vector>

#include "lora/adapter.h"
#include "lora/base_layout.h"

namespace realm::lora {

// Adds factor * scale * left right to `n_rows` rows of the delta's matrix from `first_row` on.
void add_product(const Delta& delta, bool is_embedding, int64_t first_row, int64_t n_rows,
                 float factor, float* rows);

// magnitude / |row of W + scale * left right| for every row. Throws kAdapter if a row is zero.
std::vector<float> dora_gain(const BaseLayout& base, const BaseTensor& target, const Delta& delta);

}  // namespace realm::lora
