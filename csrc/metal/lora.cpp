// What adapters add to products: the rows of all products of a call become chains, one for each row
// of each output, and two launches serve them all.
#include <algorithm>

#include "metal/on_device.h"

namespace realm::metal {

struct MetalBackend::LoraWork {
  Place tasks, rows, chains, coefficients;
  int64_t n_rows = 0, n_chains = 0, max_rank = 0, max_cols = 0;
  std::vector<MetalBuffer*> residents;
};

namespace {

msl::FactorType type_of(const FactorView& factor) {
  if (factor.dtype == DType::kF16) return msl::FactorType::kF16;
  return factor.dtype == DType::kBF16 ? msl::FactorType::kBF16 : msl::FactorType::kF32;
}

// Gives device addresses, and keeps what buffers they lie in.
class Addresses {
 public:
  Addresses(Memory& memory, std::vector<MetalBuffer*>& residents)
      : memory_(memory), residents_(residents) {}

  uint64_t of(const void* address) {
    const Place place = memory_.at(address);
    if (!place.buffer) return 0;
    if (std::ranges::find(residents_, place.buffer) == residents_.end())
      residents_.push_back(place.buffer);
    return memory_.device().gpu_address(place.buffer) + place.offset;
  }

 private:
  Memory& memory_;
  std::vector<MetalBuffer*>& residents_;
};

struct Entry {
  int32_t row;
  int task;
};

}  // namespace

// `tokens` take the place of the input's rows where they are looked up.
MetalBackend::LoraWork MetalBackend::plan_lora(std::span<const LoraProduct> products,
                                               std::span<const int32_t> tokens) {
  LoraWork work;
  Addresses addresses(*memory_, work.residents);
  std::vector<msl::LoraTask> tasks;
  std::vector<msl::LoraRow> rows;
  std::vector<msl::LoraChain> chains;
  std::vector<Entry> entries;
  int64_t n_coefficients = 0;
  for (size_t first = 0, end = 0; first < products.size(); first = end) {
    const Matrix out = products[first].out;
    entries.clear();
    for (; end < products.size() && products[end].out.data == out.data; ++end) {
      const LoraProduct& product = products[end];
      const auto task = static_cast<int>(tasks.size());
      const auto rank = static_cast<int>(product.up.rows);
      tasks.push_back({addresses.of(product.down.data), addresses.of(product.up.data),
                       addresses.of(product.gain.data), addresses.of(product.rescale.data),
                       addresses.of(product.bias.data), addresses.of(product.shift.data),
                       product.down.stride, product.up.stride, type_of(product.down),
                       type_of(product.up), rank, product.scale, product.shift_scale, 0});
      work.max_rank = std::max<int64_t>(work.max_rank, rank);
      for (const int32_t row : product.rows) entries.push_back({row, task});
    }
    std::ranges::stable_sort(entries, {}, &Entry::row);
    for (size_t i = 0; i < entries.size(); ++i) {
      const Entry& entry = entries[i];
      if (i == 0 || entry.row != entries[i - 1].row) {
        chains.push_back({addresses.of(out.data + entry.row * out.cols), out.cols,
                          static_cast<int>(rows.size()), 0});
      }
      ++chains.back().n;
      rows.push_back({n_coefficients, entry.task,
                      tokens.empty() ? entry.row : tokens[static_cast<size_t>(entry.row)]});
      n_coefficients += tasks[static_cast<size_t>(entry.task)].rank;
    }
    work.max_cols = std::max(work.max_cols, out.cols);
  }
  work.n_rows = static_cast<int64_t>(rows.size());
  work.n_chains = static_cast<int64_t>(chains.size());
  work.tasks = step_.put(std::span<const msl::LoraTask>(tasks));
  work.rows = step_.put(std::span<const msl::LoraRow>(rows));
  work.chains = step_.put(std::span<const msl::LoraChain>(chains));
  work.coefficients = coefficients_.reserve(n_coefficients * static_cast<int64_t>(sizeof(float)));
  return work;
}

void MetalBackend::expand_lora(const LoraWork& work) {
  const Place places[] = {work.tasks, work.rows, work.chains, work.coefficients};
  record({Kernel::kLoraExpand,
          {div_up(work.max_cols, msl::kLoraThreads), work.n_chains},
          places,
          work.residents});
}

void MetalBackend::run_add_lora(std::span<const LoraProduct> products, Matrix in) {
  on_device([&] {
    const LoraWork work = plan_lora(products, {});
    const msl::LoraParams params{in.cols};
    const Place places[] = {work.tasks, work.rows, at(in.data), work.coefficients};
    record({Kernel::kLoraShrink,
            {div_up(work.max_rank, msl::kLoraThreads / msl::kSimd), work.n_rows},
            places,
            work.residents,
            &params,
            sizeof params});
    expand_lora(work);
  });
}

void MetalBackend::run_add_lora_rows(std::span<const LoraProduct> products,
                                     std::span<const int32_t> tokens) {
  on_device([&] {
    const LoraWork work = plan_lora(products, tokens);
    const Place places[] = {work.tasks, work.rows, work.coefficients};
    record({Kernel::kLoraLookUp,
            {div_up(work.max_rank, msl::kLoraThreads), work.n_rows},
            places,
            work.residents});
    expand_lora(work);
  });
}

}  // namespace realm::metal
