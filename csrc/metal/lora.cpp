// What adapters add to products: the rows of all products of a call become tiles and chains
// (gpu/lora_plan.h), and two launches serve them all.
#include <algorithm>

#include "metal/on_device.h"

namespace realm::metal {

struct MetalBackend::LoraWork {
  const gpu::LoraPlan& plan;
  Place tasks, rows, coefficients;
  std::vector<MetalBuffer*> residents;  // where the operands lie that tasks and chains name
};

MetalBackend::LoraWork MetalBackend::plan_lora(std::span<const LoraProduct> products) {
  std::vector<MetalBuffer*> residents;
  const gpu::LoraPlan& plan = lora_.plan(products, [&](const void* address) -> uint64_t {
    const Place place = at(address);
    if (!place.buffer) return 0;
    if (std::ranges::find(residents, place.buffer) == residents.end())
      residents.push_back(place.buffer);
    return memory_->device().gpu_address(place.buffer) + place.offset;
  });
  return {plan, step_.put(std::span(plan.tasks)), step_.put(std::span(plan.rows)),
          coefficients_.reserve(plan.n_coefficients * static_cast<int64_t>(sizeof(float))),
          std::move(residents)};
}

void MetalBackend::expand_lora(const LoraWork& work) {
  const auto& [plan, tasks, rows, coefficients, residents] = work;
  const Place places[] = {tasks, step_.put(std::span(plan.links)),
                          step_.put(std::span(plan.chains)), rows, coefficients};
  record({Kernel::kLoraExpand,
          {div_up(plan.max_cols, msl::kLoraThreads), static_cast<int64_t>(plan.chains.size())},
          places,
          residents});
}

void MetalBackend::run_add_lora(std::span<const LoraProduct> products, Matrix in) {
  on_device([&] {
    const LoraWork work = plan_lora(products);
    const auto& [plan, tasks, rows, coefficients, residents] = work;
    const msl::LoraParams params{in.cols};
    const Place places[] = {tasks, step_.put(std::span(plan.tiles)), rows, at(in.data),
                            coefficients};
    record({Kernel::kLoraShrink,
            {div_up(plan.max_rank, msl::kLoraThreads / msl::kSimd),
             static_cast<int64_t>(plan.tiles.size())},
            places,
            residents,
            &params,
            sizeof params});
    expand_lora(work);
  });
}

void MetalBackend::run_add_lora_rows(std::span<const LoraProduct> products,
                                     std::span<const int32_t> tokens) {
  on_device([&] {
    const LoraWork work = plan_lora(products);
    const auto& [plan, tasks, rows, coefficients, residents] = work;
    const Place places[] = {tasks, step_.put(std::span(plan.tiles)), rows, step_.put(tokens),
                            coefficients};
    record({Kernel::kLoraLookUp,
            {div_up(plan.max_rank, msl::kLoraThreads), static_cast<int64_t>(plan.tiles.size())},
            places,
            residents});
    expand_lora(work);
  });
}

}  // namespace realm::metal
