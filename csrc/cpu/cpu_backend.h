// The CPU backend: the default everywhere, and the reference of the others. Ops are spread over
// files by family (matmul, attention, elementwise, experts); each splits its work into chunks for
// the pool, and no result depends on the split. Device memory is host memory; every op is done when
// it returns.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "base/thread_pool.h"
#include "cpu/activations.h"
#include "cpu/kernels.h"
#include "cpu/panel_products.h"
#include "cpu/read_ahead.h"

namespace realm::cpu {

struct alignas(64) CacheLine {
  float floats[kLanes];
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(const Kernels& kernels, const PanelKernels& panel_kernels,
             std::shared_ptr<ThreadPool> pool, ActivationKind activations);

  std::string description() const override;
  std::unique_ptr<Buffer> allocate(uint64_t bytes) override;
  void upload(const void* host, void* device, uint64_t bytes) override;
  void download(const void* device, void* host, uint64_t bytes) override;
  void sync() override {}
  std::unique_ptr<Weight> load_weight(const WeightBytes& bytes) override;
  void decode_rows(const Weight& weight, int64_t first_row, int64_t n_rows, float* out) override;
  std::vector<std::pair<std::string, uint64_t>> path_counts() const override;
  int64_t kv_page_tokens() const override { return kLanes; }
  int64_t kv_page_bytes(KvType type, int64_t n_kv_heads, int64_t head_width) const override;

 private:
  void run_embed(const Weight& table, std::span<const int32_t> tokens, float scale,
                 Matrix out) override;
  void run_gather(Matrix in, std::span<const int32_t> rows, Matrix out) override;
  void run_norm(NormKind kind, Matrix in, Vector weight, Vector bias, float eps,
                Matrix out) override;
  void run_linear(std::span<const Product> products, Matrix in) override;
  void run_add_lora(std::span<const LoraProduct> products, Matrix in) override;
  void run_linear_with_lora(std::span<const Product> products,
                            std::span<const LoraProduct> additions, Matrix in) override;
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

  // Matrix products with f32 activations: the oracle of run_linear().
  void run_reference_linear(std::span<const Product> products, Matrix in);
  void expect_what_follows(std::span<const Product> products, int64_t units);
  void multiply(std::span<const Product> products, Matrix in, OutputUse use);
  static Activations::Needs needs_of(std::span<const Product> products);
  // With what activations_ has.
  void multiply_quantized(std::span<const Product> products, OutputUse use);
  void multiply_units(const Product& product, int64_t begin, int64_t end, OutputUse use);
  // Calls body(row) for every row, on the pool when there is enough to do.
  template <class Body>
  void for_each_row(int64_t rows, int64_t cols, Body body);
  void run_expert(const ExpertBank& bank, Activation kind, int64_t expert,
                  std::span<const int32_t> rows, const ExpertScratch& scratch);
  void add_expert_lora(const ExpertBank& bank, int64_t expert, ExpertPart part,
                       std::span<const int32_t> rows, Matrix in, Matrix out);
  // Where each product's coefficients, [rows, rank], begin in coefficients_.
  void place_coefficients(std::span<const LoraProduct> products);
  // Of a product: some of its coefficients.
  struct Coefficients {
    int64_t first_row, n_rows, first_rank, n_ranks;
  };
  // `out` is that of the product's first.
  void shrink(const LoraProduct& product, Coefficients some, Matrix in, float* out);
  void shrink_all(std::span<const LoraProduct> products, Matrix in);
  void quantize_and_shrink(std::span<const Product> products,
                           std::span<const LoraProduct> additions, Matrix in);
  void expand_all(std::span<const LoraProduct> products);
  void expand_piece(std::span<const LoraProduct> products, size_t first, size_t end,
                    const OutputPiece& piece);

  const Kernels& kernels_;
  const PanelKernels& panel_kernels_;
  std::shared_ptr<ThreadPool> pool_;
  WeightMemory weight_memory_;
  std::vector<float> coefficients_;  // of add_lora; grows
  std::vector<int64_t> coefficients_at_;
  std::vector<CacheLine> states_;  // of attention that is shared out by stretches of keys; grows
  const ActivationKind activation_kind_;
  Activations activations_;  // of the current group of products
  ReadAhead read_ahead_;
  PathCounts path_counts_;
};

}  // namespace realm::cpu
