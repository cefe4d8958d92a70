// The CUDA backend: the seam over one device and one stream. Ops are spread over files by family
// (products, attention, experts, lora); each checks its operands on the host, uploads what the host
// knows (tokens, pages) and launches kernels (cuda/kernels.h). Nothing waits but download() and
// sync().
//
// Memory: weights are packed on the host and uploaded once. Working memory of ops grows to the
// largest step and stays. allocate(), memory_for_cache() and path_counts() may be called beside a
// step of another thread. A device error is thrown as kDevice, marks the backend lost, and every
// later use throws kDevice again; the process and its other backends go on.
//
// Numerics: sums have orders of their own (docs/numerics.md). With `deterministic` a row's bits
// depend on its own context alone, as on the CPU; without, only the choice between kernels for few
// and for many rows can change them.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "cuda/cuda_weight.h"
#include "cuda/dense_library.h"
#include "cuda/device_memory.h"
#include "cuda/host_tables.h"
#include "cuda/kernels.h"
#include "cuda/launch_counts.h"
#include "gpu/lora_plan.h"
#include "gpu/step_plan.h"

namespace realm::cuda {

class StepGraphs;

// Whether a device has failed, and how. For any thread.
class Loss {
 public:
  void note(const char* what);
  // Throws kDevice once something was noted.
  void require_none(int device) const;

 private:
  mutable std::mutex mutex_;
  std::string what_;  // empty while the device works
};

class CudaBackend final : public Backend {
 public:
  // Throws kDevice if there is no such device.
  CudaBackend(int device, bool deterministic, ActivationKind activations);
  ~CudaBackend() override;

  std::string description() const override;
  std::vector<std::pair<std::string, uint64_t>> path_counts() const override;
  std::unique_ptr<Buffer> allocate(uint64_t bytes) override;
  uint64_t memory_for_cache() const override;
  void upload(const void* host, void* device, uint64_t bytes) override;
  void download(const void* device, void* host, uint64_t bytes) override;
  void sync() override;
  std::unique_ptr<Weight> load_weight(const WeightBytes& bytes) override;
  void decode_rows(const Weight& weight, int64_t first_row, int64_t n_rows, float* out) override;
  int64_t kv_page_tokens() const override;
  int64_t kv_page_bytes(KvType type, int64_t n_kv_heads, int64_t head_width) const override;
  std::unique_ptr<StepRecorder> make_step_recorder() override;
  int64_t max_shortlist() const override { return kMaxShortlist; }

 private:
  friend class StepGraphs;

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
  void run_rotate_and_store_kv(const StepBatch& step, const KvLayer& cache, RopeAngles angles,
                               Matrix q, Matrix k, Matrix v) override;
  void run_attend(const StepBatch& step, const KvLayer& cache, const AttentionShape& shape,
                  Matrix q, Matrix out) override;
  void run_route(Matrix logits, bool renormalize, Routing out) override;
  void run_experts(const ExpertBank& bank, Activation kind, Matrix in, Routing routing,
                   const ExpertScratch& scratch, Matrix out) override;

  void run_shortlist(Matrix logits, int64_t width, TopLogit* out) override;

  // Runs `body` with the device chosen; a device error marks the backend lost. Quantized rows are
  // then taken for stale: the op may write what they were made of. The second is for ops that write
  // nothing of `in`, whose quantized rows stay good.
  template <class Body>
  auto on_device(Body body);
  // The same for what touches nothing of ops: in any thread.
  template <class Body>
  auto beside_ops(Body body) const;
  template <class Body>
  auto on_device_reading(Matrix in, Body body);

  // Rows that integer products took are quantized by the op that writes them from then on (a
  // decoder's matrices keep their places), so that no launch of its own is needed. What is found
  // is good for the same rows as long as no op comes between that may write them.
  QuantizedRows quantized_of(Matrix in);
  QuantizedRows quantize_with(Matrix out);  // for an op that writes `out`; null: not asked for
  bool takes_integers(Matrix in) const;
  QuantizedRows room_for_quants(Matrix in);

  // The ordered choices of a step, for products with banks of experts.
  struct Segments {
    const int32_t* starts = nullptr;  // null: one weight for all rows
    int64_t n_experts = 1;
  };
  class Inputs;  // an input in the forms that products ask for, each made once
  void multiply(const PackedWeight& weight, int64_t first_row, Vector bias, Matrix out,
                Inputs& inputs, const Segments& segments);
  // By the vendor's library; false if there is none or it has no way, and nothing has run.
  bool multiply_by_library(const PackedWeight& weight, const ProductShape& shape, Inputs& inputs,
                           float* out);
  bool multiply_decoded(const PackedWeight& weight, const ProductShape& shape, Inputs& inputs,
                        float* out);

  // The tiles of one kind of layer (window, heads to a KV head) in the planned step.
  struct Tiles {
    struct Split {
      const AttendTile* tiles;
      int64_t n_tiles;
      const MergeRow* merges;
      int64_t n_merges, n_parts;
    };
    const AttendTile* flash = nullptr;
    int64_t n_flash = 0;
    std::vector<Split> splits;
  };
  struct TilesOnDevice {
    explicit TilesOnDevice(ScratchBook& book) : memory(book) {}
    gpu::TileOptions options;
    Scratch memory;
    Tiles tiles;
  };

  // A step's rows and tiles as they lie on the device. Layers with a window may have pages of their
  // own, so a step has up to two of these.
  struct PlannedStep {
    explicit PlannedStep(ScratchBook& book) : memory(book) {}
    std::vector<int32_t> words;  // what `memory` holds
    Scratch memory;
    StepRows rows{};
    std::vector<std::unique_ptr<TilesOnDevice>> tiles;
    size_t n_tiles = 0;  // of them planned for this step
  };

  struct LoraWork {
    LoraTables tables;
    float* coefficients;
  };
  // `form`: what the launches that read the table depend on besides.
  const std::byte* put_table(std::span<const std::byte> table, std::initializer_list<int64_t> form);
  LoraWork upload_lora(const gpu::LoraPlan& plan, Matrix in, const int32_t* parts);
  RowGroupsOnDevice group_rows(std::span<const ExpertLora> lora, int64_t n_rows);
  void add_expert_lora(std::span<const ExpertLora> lora,
                       std::initializer_list<std::pair<ExpertPart, Matrix>> parts, Matrix in,
                       const SortedChoices& sorted);

  const int32_t* upload_tokens(std::span<const int32_t> tokens);
  PlannedStep& plan(const StepBatch& step);
  const Tiles& plan_tiles_of(PlannedStep& planned, const StepBatch& step,
                             const gpu::TileOptions& options);
  // As planned, or where a step that is being captured has them.
  StepRows rows_of(const StepBatch& step);
  Tiles tiles_of(const StepBatch& step, const gpu::TileOptions& options);
  bool is_capturing() const;
  // Ops then only plan what adapters add to them: nothing touches the device.
  bool is_planning() const;
  void attend_in_tiles(const StepBatch& step, const KvLayer& cache, const AttentionShape& shape,
                       Matrix q, Matrix out);

  const int device_;
  const bool deterministic_;
  const ActivationKind activations_;
  DeviceProperties properties_;
  Stream stream_ = nullptr;
  mutable Loss loss_;
  LaunchCounts launches_;

  std::unique_ptr<DenseLibrary> library_;  // null: our own kernels alone
  ScratchBook scratch_{device_};
  Scratch workspace_{scratch_};  // the library's
  Scratch decoded_{scratch_};    // rows of a weight for it
  Scratch tokens_{scratch_}, parts_{scratch_};
  Scratch quants_{scratch_}, quant_scales_{scratch_}, halves_{scratch_}, half_factors_{scratch_};
  Scratch choices_{scratch_}, lists_{scratch_};
  Matrix quantized_;                    // what quants_ was made of; no data: stale
  std::vector<Matrix> integer_inputs_;  // whose quantized rows were asked for; the last kept few
  std::unique_ptr<PlannedStep> planned_[2];  // the one used last stands first

  gpu::LoraPlanner lora_;
  HostTables tables_{scratch_};
  Scratch coefficients_{scratch_};
  std::vector<std::byte> lora_bytes_;

  // Steps of decoders, by how they were run; read by any thread.
  struct {
    std::atomic<uint64_t> replayed{0}, captured{0}, eager{0}, not_captured{0}, dropped{0};
  } step_counts_;
  std::atomic<uint64_t> rows_listed_{0};
  StepGraphs* graphs_ = nullptr;  // whose step is issued now; null outside steps of decoders
};

}  // namespace realm::cuda
