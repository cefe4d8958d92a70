// THE SEAM. A backend runs a small set of coarse, eager ops on its own memory; the forward
// (model/decoder.cpp) is written once over it. Each public op checks shapes, then calls the virtual
// of the same name with run_ before it, so that a backend's code starts from operands that fit.
//
// Numerics law: a row's result depends on the model and on the row's own context only, never on
// which rows stand beside it, on chunking or on the number of threads.
//
// Ops do not allocate. An op may return before its work is done (sync() waits); download() waits
// for what it reads. One thread at a time uses a backend; different backends are independent.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/operands.h"
#include "backend/step_recorder.h"
#include "backend/top_logit.h"

namespace realm {

class Backend {
 public:
  virtual ~Backend() = default;

  // "cpu avx512vnni, 2 threads": for doctor() and messages.
  virtual std::string description() const = 0;
  // How often each kind of kernel ran so far, by name: tests see which path was taken.
  virtual std::vector<std::pair<std::string, uint64_t>> path_counts() const { return {}; }

  // ---- memory
  // ------------------------------------------------------------------------------------------
  // By any thread, also while another one uses the backend. Throws kOutOfMemory with the sizes.
  virtual std::unique_ptr<Buffer> allocate(uint64_t bytes) = 0;
  virtual void upload(const void* host, void* device, uint64_t bytes) = 0;
  virtual void download(const void* device, void* host, uint64_t bytes) = 0;
  virtual void sync() = 0;

  // Whether weights are read where their file is mapped, so that a copy would only cost memory.
  virtual bool maps_weights() const { return false; }
  // Throws kFormat if this backend has no kernel for the format.
  virtual std::unique_ptr<Weight> load_weight(const WeightBytes& bytes) = 0;
  // The decoded values of some rows, in host memory.
  virtual void decode_rows(const Weight& weight, int64_t first_row, int64_t n_rows, float* out) = 0;

  // What a cache may take of the memory that is left, when nobody says. By any thread.
  virtual uint64_t memory_for_cache() const;

  // Tokens to a page of keys and values, and bytes of a page with all of a layer's heads.
  virtual int64_t kv_page_tokens() const = 0;
  virtual int64_t kv_page_bytes(KvType type, int64_t n_kv_heads, int64_t head_width) const = 0;

  // A number that no other call gets. What is made on a backend may carry one, by which whoever
  // remembers it knows that it is not another one in the same place. By any thread.
  uint64_t next_serial() { return ++last_serial_; }

  // Null where nothing is gained by running a step's ops again as they were.
  virtual std::unique_ptr<StepRecorder> make_step_recorder() { return nullptr; }

  // ---- ops: T rows in a step
  // --------------------------------------------------------------------------- out[t] = scale *
  // table[tokens[t]]
  void embed(const Weight& table, std::span<const int32_t> tokens, float scale, Matrix out);
  // out[i] = in[rows[i]]
  void gather(Matrix in, std::span<const int32_t> rows, Matrix out);
  // Each row by itself; `in` and `out` may be the same.
  void norm(NormKind kind, Matrix in, Vector weight, Vector bias, float eps, Matrix out);
  // Of each product, out = in * weight^T + bias. Products of one input go together: what a backend
  // does to the input (quantizing it) is done once, and small products share its workers. Outputs
  // overlap neither each other nor the input. Whether products go together or one by one changes no
  // bit.
  void linear(std::span<const Product> products, Matrix in);
  // What adapters add to products of `in`, whose rows are those of the outputs. Products of one
  // output follow one another and are added in their order.
  void add_lora(std::span<const LoraProduct> products, Matrix in);
  // linear(), then add_lora() on its outputs: at once where a backend finds that cheaper.
  void linear_with_lora(std::span<const Product> products, std::span<const LoraProduct> additions,
                        Matrix in);
  // The same for lookups: the row of `down` that tokens[row] names takes the place of down in[row].
  void add_lora_rows(std::span<const LoraProduct> products, std::span<const int32_t> tokens);
  // x += scale * y
  void add(Matrix x, Matrix y, float scale);
  void scale(Matrix x, float factor);
  // x = cap * tanh(x / cap)
  void softcap(Matrix x, float cap);
  void activate(Activation kind, Matrix x);
  // out = activation(gate) * up; `out` may be either of them.
  void gate(Activation kind, Matrix gate, Matrix up, Matrix out);
  // x *= sigmoid(logit) row by row: the shared expert's gate. `logits` is [T, 1].
  void scale_by_sigmoid(Matrix x, Matrix logits);
  // Rotates every head of every row.
  void rotate(Matrix x, int64_t head_width, RopeAngles angles);
  // Writes each row's key and value into its sequence's pages.
  void store_kv(const StepBatch& step, const KvLayer& cache, Matrix k, Matrix v);
  // rotate() of q and of k, then store_kv(): one op, so that a backend may do it at once. `k` is
  // undefined afterwards.
  void rotate_and_store_kv(const StepBatch& step, const KvLayer& cache, RopeAngles angles, Matrix q,
                           Matrix k, Matrix v);
  // out[t] = attention of row t over its own sequence's pages up to its own position.
  void attend(const StepBatch& step, const KvLayer& cache, const AttentionShape& shape, Matrix q,
              Matrix out);
  // Softmax over `logits` [T, X], then the n_used largest; weights summing to one if `renormalize`.
  void route(Matrix logits, bool renormalize, Routing out);
  // out[t] = sum over the row's experts, in index order, of weight * down(activation(gate) * up).
  void experts(const ExpertBank& bank, Activation kind, Matrix in, Routing routing,
               const ExpertScratch& scratch, Matrix out);

  // How long a list of a row's first logits can be; 0 where a row is read as fast as a list.
  virtual int64_t max_shortlist() const { return 0; }
  // The first `width` logits of each row in order of preference: larger before smaller, of equal
  // ones the lower token first. `out`, in host memory, is [T, 1 + width]; the token of a row's
  // first entry is how many follow: `width`, or none if the row has a NaN or an infinity. Waits.
  void shortlist(Matrix logits, int64_t width, TopLogit* out);

  // While `*flag` is true, ops of this backend may return early with their outputs undefined, and
  // check_cancelled() throws kCancelled. Null: never. The flag must outlive its use.
  void watch(const std::atomic<bool>* flag) { cancelled_ = flag; }
  void check_cancelled() const;

 protected:
  bool cancelled() const { return cancelled_ && cancelled_->load(std::memory_order_relaxed); }

 private:
  virtual void run_embed(const Weight& table, std::span<const int32_t> tokens, float scale,
                         Matrix out) = 0;
  virtual void run_gather(Matrix in, std::span<const int32_t> rows, Matrix out) = 0;
  virtual void run_norm(NormKind kind, Matrix in, Vector weight, Vector bias, float eps,
                        Matrix out) = 0;
  virtual void run_linear(std::span<const Product> products, Matrix in) = 0;
  virtual void run_add_lora(std::span<const LoraProduct> products, Matrix in) = 0;
  virtual void run_linear_with_lora(std::span<const Product> products,
                                    std::span<const LoraProduct> additions, Matrix in);
  virtual void run_add_lora_rows(std::span<const LoraProduct> products,
                                 std::span<const int32_t> tokens) = 0;
  virtual void run_add(Matrix x, Matrix y, float scale) = 0;
  virtual void run_scale(Matrix x, float factor) = 0;
  virtual void run_softcap(Matrix x, float cap) = 0;
  virtual void run_activate(Activation kind, Matrix x) = 0;
  virtual void run_gate(Activation kind, Matrix gate, Matrix up, Matrix out) = 0;
  virtual void run_scale_by_sigmoid(Matrix x, Matrix logits) = 0;
  virtual void run_rotate(Matrix x, int64_t head_width, RopeAngles angles) = 0;
  virtual void run_store_kv(const StepBatch& step, const KvLayer& cache, Matrix k, Matrix v) = 0;
  virtual void run_rotate_and_store_kv(const StepBatch& step, const KvLayer& cache,
                                       RopeAngles angles, Matrix q, Matrix k, Matrix v);
  virtual void run_attend(const StepBatch& step, const KvLayer& cache, const AttentionShape& shape,
                          Matrix q, Matrix out) = 0;
  virtual void run_route(Matrix logits, bool renormalize, Routing out) = 0;
  virtual void run_experts(const ExpertBank& bank, Activation kind, Matrix in, Routing routing,
                           const ExpertScratch& scratch, Matrix out) = 0;

  // Throws kDevice unless a backend has lists.
  virtual void run_shortlist(Matrix logits, int64_t width, TopLogit* out);

  const std::atomic<bool>* cancelled_ = nullptr;
  std::atomic<uint64_t> last_serial_ = 0;
};

}  // namespace realm
