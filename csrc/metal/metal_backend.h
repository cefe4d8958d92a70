// The Metal backend: the seam over the system's device, one command buffer per step. Ops are spread
// over files by family (products, attention, experts, lora); each checks its operands on the host,
// writes what the host knows (tokens, pages, tasks) into the step's memory and records a kernel of
// metal/kernels.h. Nothing runs before download(), upload() or sync(), which wait for all of it.
//
// Memory is the process's own: addresses of the backend are host addresses, weights are read where
// their file is mapped. Working memory of ops grows to the largest step and stays. A device error
// is thrown as kDevice, marks the backend lost, and every later use throws kDevice again; the
// process and its other backends go on.
//
// Numerics: products and attention are f32 throughout; sums have orders of their own
// (docs/numerics.md). With `deterministic` a row's bits depend on its own context alone, as on the
// CPU; without, only the choice between kernels for few and for many rows can change them.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "gpu/lora_plan.h"
#include "gpu/step_plan.h"
#include "metal/device_memory.h"
#include "metal/metal_weight.h"

namespace realm::metal {

class MetalBackend final : public Backend {
 public:
  // Throws kDevice if the system has no device that serves.
  explicit MetalBackend(bool deterministic);
  MetalBackend(std::unique_ptr<Device> device, bool deterministic);

  std::string description() const override;
  std::vector<std::pair<std::string, uint64_t>> path_counts() const override;
  std::unique_ptr<Buffer> allocate(uint64_t bytes) override;
  void upload(const void* host, void* device, uint64_t bytes) override;
  void download(const void* device, void* host, uint64_t bytes) override;
  void sync() override;
  bool maps_weights() const override { return true; }
  uint64_t memory_for_cache() const override;
  std::unique_ptr<Weight> load_weight(const WeightBytes& bytes) override;
  void decode_rows(const Weight& weight, int64_t first_row, int64_t n_rows, float* out) override;
  int64_t kv_page_tokens() const override;
  int64_t kv_page_bytes(KvType type, int64_t n_kv_heads, int64_t head_width) const override;

  // The greedy choice of each row, -1 beside a NaN: int32 in `tokens`. Not yet asked for by the
  // seam.
  void choose_largest(Matrix logits, int32_t* tokens);

 private:
  void run_embed(const Weight& table, std::span<const int32_t> tokens, float scale,
                 Matrix out) override;
  void run_gather(Matrix in, std::span<const int32_t> rows, Matrix out) override;
  void run_norm(NormKind kind, Matrix in, Vector weight, Vector bias, float eps,
                Matrix out) override;
  void run_linear(std::span<const Product> products, Matrix in) override;
  void run_add_lora(std::span<const LoraProduct> products, Matrix in) override;
  void run_add_lora_rows(std::span<const LoraProduct> products,
                         std::span<const int32_t> tokens) override;
  void run_add(Matrix x, Matrix y, float scale) override;
  void run_scale(Matrix x, float factor) override;
  void run_softcap(Matrix x, float cap) override;
  void run_activate(Activation kind, Matrix x) override;
  void run_gate(Activation kind, Matrix gate, Matrix up, Matrix out) override;
  void run_scale_by_sigmoid(Matrix x, Matrix logits) override;
  void run_rotate(Matrix x, int64_t head_width, RopeAngles angles) override;
  void run_store_kv(const StepBatch& step, const KvLayer& cache, Matrix k, Matrix v) override;
  void run_attend(const StepBatch& step, const KvLayer& cache, const AttentionShape& shape,
                  Matrix q, Matrix out) override;
  void run_route(Matrix logits, bool renormalize, Routing out) override;
  void run_experts(const ExpertBank& bank, Activation kind, Matrix in, Routing routing,
                   const ExpertScratch& scratch, Matrix out) override;

  // Runs `body`; a device error marks the backend lost.
  template <class Body>
  auto on_device(Body body);
  void finish();  // what was recorded

  Place at(const void* address) const { return memory_->at(address); }
  // Records a kernel whose bindings are `places` and, if it has any, constants.
  void launch(Kernel kernel, Grid grid, std::initializer_list<Place> places);
  template <class Constants>
  void launch(Kernel kernel, Grid grid, std::initializer_list<Place> places,
              const Constants& constants);
  void record(Dispatch dispatch);
  // The kernels of elementwise.metal, a thread for each of n elements.
  template <class Constants>
  void launch_elements(Kernel kernel, int64_t n, std::initializer_list<Place> places,
                       const Constants& constants);

  // The ordered choices of a step, for products with banks of experts.
  struct Segments {
    const int32_t* starts = nullptr;  // null: one weight for all rows
    int64_t n_experts = 1;
  };
  void multiply(const MetalWeight& weight, int64_t first_row, Vector bias, Matrix in, Matrix out,
                const Segments& segments);

  // The tiles of one kind of layer (window, heads to a KV head) in the planned step.
  struct Tiles {
    struct Split {
      Place tiles, merges;
      int64_t n_tiles, n_merges, n_parts;
    };
    gpu::TileOptions options;
    Place flash;
    int64_t n_flash = 0;
    std::vector<Split> splits;
  };
  // A step's rows and tiles as they lie in the step's memory. Layers with a window may have pages
  // of their own, so a step has up to two of these.
  struct PlannedStep {
    std::vector<int32_t> words;  // what `rows` holds
    uint64_t generation = 0;     // of the step's memory
    int64_t n_rows = 0;
    Place rows;
    std::vector<Tiles> tiles;

    Place pages() const { return rows + 3 * n_rows * static_cast<int64_t>(sizeof(int32_t)); }
  };
  PlannedStep& plan(const StepBatch& step);
  const Tiles& plan_tiles_of(PlannedStep& planned, const StepBatch& step,
                             const gpu::TileOptions& options);
  void attend_in_tiles(const StepBatch& step, const KvLayer& cache, const AttentionShape& shape,
                       Matrix q, Matrix out);

  // A plan of `lora_` in the step's memory.
  struct LoraWork;
  class Residents;
  LoraWork upload_lora(const gpu::LoraPlan& plan, Residents residents, Place parts);
  LoraWork plan_lora(std::span<const LoraProduct> products);
  void shrink_lora(const LoraWork& work, Matrix in);
  void expand_lora(const LoraWork& work);
  void add_expert_lora(std::span<const ExpertLora> lora,
                       std::initializer_list<std::pair<ExpertPart, Matrix>> outputs, Matrix in,
                       Place parts);

  const std::shared_ptr<Memory> memory_;
  const bool deterministic_;
  std::string lost_;  // empty while the device works
  std::array<uint64_t, static_cast<size_t>(Kernel::kCount)> counts_{};

  StepMemory step_{memory_};
  Scratch parts_{memory_}, choices_{memory_}, decoded_{memory_}, coefficients_{memory_};
  PlannedStep planned_[2];  // the one used last stands first
  gpu::LoraPlanner lora_;
};

}  // namespace realm::metal
