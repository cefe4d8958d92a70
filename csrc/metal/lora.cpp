// What adapters add to products: the rows of all products of a call become tiles and chains
// (gpu/lora_plan.h), and two launches serve them all.
#include <algorithm>

#include "metal/on_device.h"

namespace realm::metal {

// The buffers in which operands lie that tasks and chains name by address.
class MetalBackend::Residents {
 public:
  explicit Residents(const MetalBackend& backend) : backend_(backend) {}

  uint64_t address_of(const void* address) {
    const Place place = backend_.at(address);
    if (!place.buffer) return 0;
    if (std::ranges::find(buffers_, place.buffer) == buffers_.end())
      buffers_.push_back(place.buffer);
    return backend_.memory_->device().gpu_address(place.buffer) + place.offset;
  }
  std::span<MetalBuffer* const> buffers() const { return buffers_; }

 private:
  const MetalBackend& backend_;
  std::vector<MetalBuffer*> buffers_;
};

struct MetalBackend::LoraWork {
  const gpu::LoraPlan& plan;
  Residents residents;
  Place tasks, rows, parts, coefficients;
};

MetalBackend::LoraWork MetalBackend::upload_lora(const gpu::LoraPlan& plan, Residents residents,
                                                 Place parts) {
  return {plan,
          std::move(residents),
          step_.put(std::span(plan.tasks)),
          step_.put(std::span(plan.rows)),
          parts,
          coefficients_.reserve(plan.n_coefficients * static_cast<int64_t>(sizeof(float)))};
}

MetalBackend::LoraWork MetalBackend::plan_lora(std::span<const LoraProduct> products) {
  Residents residents(*this);
  const gpu::LoraPlan& plan =
      lora_.plan(products, [&](const void* address) { return residents.address_of(address); });
  return upload_lora(plan, std::move(residents), {});
}

void MetalBackend::shrink_lora(const LoraWork& work, Matrix in) {
  const msl::LoraParams params{in.cols};
  const Place places[] = {work.tasks,  step_.put(std::span(work.plan.tiles)),
                          work.rows,   work.parts,
                          at(in.data), work.coefficients};
  record({Kernel::kLoraShrink,
          {div_up(work.plan.max_rank, msl::kLoraThreads / msl::kSimd),
           static_cast<int64_t>(work.plan.tiles.size())},
          places,
          work.residents.buffers(),
          &params,
          sizeof params});
}

void MetalBackend::expand_lora(const LoraWork& work) {
  const Place places[] = {work.tasks,
                          step_.put(std::span(work.plan.links)),
                          step_.put(std::span(work.plan.chains)),
                          work.rows,
                          work.parts,
                          work.coefficients};
  record({Kernel::kLoraExpand,
          {div_up(work.plan.max_cols, msl::kLoraThreads),
           static_cast<int64_t>(work.plan.chains.size())},
          places,
          work.residents.buffers()});
}

void MetalBackend::run_add_lora(std::span<const LoraProduct> products, Matrix in) {
  on_device([&] {
    const LoraWork work = plan_lora(products);
    shrink_lora(work, in);
    expand_lora(work);
  });
}

void MetalBackend::run_add_lora_rows(std::span<const LoraProduct> products,
                                     std::span<const int32_t> tokens) {
  on_device([&] {
    const LoraWork work = plan_lora(products);
    const Place places[] = {work.tasks, step_.put(std::span(work.plan.tiles)), work.rows,
                            step_.put(tokens), work.coefficients};
    record({Kernel::kLoraLookUp,
            {div_up(work.plan.max_rank, msl::kLoraThreads),
             static_cast<int64_t>(work.plan.tiles.size())},
            places,
            work.residents.buffers()});
    expand_lora(work);
  });
}

// What adapters add to parts of the experts that share the input `in`, a row for each ordered
// choice.
void MetalBackend::add_expert_lora(std::span<const ExpertLora> lora,
                                   std::initializer_list<std::pair<ExpertPart, Matrix>> outputs,
                                   Matrix in, Place parts) {
  if (lora.empty()) return;
  Residents residents(*this);
  lora_.begin_input();
  for (const auto& [part, out] : outputs) {
    lora_.add_experts(lora, part, out,
                      [&](const void* address) { return residents.address_of(address); });
  }
  const LoraWork work = upload_lora(lora_.experts(), std::move(residents), parts);
  shrink_lora(work, in);
  expand_lora(work);
}

}  // namespace realm::metal
