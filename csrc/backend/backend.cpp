// The checks of every op. What they catch is our own mistake (a model that passed its load checks
// cannot fail them), so they are kInternal; they stay on in release builds because an op costs far
// more than its check.
#include "backend/backend.h"

#include <algorithm>

#include "base/error.h"
#include "base/memory.h"

namespace realm {

namespace {

void require(bool fits, const char* op, const char* what) {
  if (!fits) fail(ErrorCode::kInternal, "operands of ", op, " do not fit: ", what);
}

bool same_shape(Matrix a, Matrix b) {
  return a.rows == b.rows && a.cols == b.cols;
}

void require_lora(const LoraProduct& product, int64_t n_rows) {
  const auto fits = [&](const Vector& v) { return !v.data || v.n == product.out.cols; };
  require(fits(product.gain) && fits(product.rescale) && fits(product.bias) && fits(product.shift),
          "add_lora", "vectors");
  require(product.up.rows == 0 || product.up.cols == product.out.cols, "add_lora", "up");
  for (const int32_t row : product.rows) {
    require(row >= 0 && row < n_rows && row < product.out.rows, "add_lora", "rows");
  }
}

void require_additions(std::span<const LoraProduct> products, Matrix in) {
  for (const LoraProduct& product : products) {
    require_lora(product, in.rows);
    const bool has_factors = product.up.rows > 0;
    require(!has_factors || (product.down.rows == product.up.rows && product.down.cols == in.cols),
            "add_lora", "down");
  }
}

void require_products(std::span<const Product> products, Matrix in) {
  for (const auto& [weight, bias, out] : products) {
    require(weight.first_row >= 0 && weight.n_rows <= weight.weight->rows() - weight.first_row,
            "linear", "weight rows");
    require(in.cols == weight.weight->cols(), "linear", "input width");
    require(in.rows == out.rows && out.cols == weight.n_rows, "linear", "output");
    require(!bias.data || bias.n == out.cols, "linear", "bias");
  }
}

void require_rotation(Matrix x, int64_t head_width, const RopeAngles& angles) {
  require(head_width > 0 && x.cols % head_width == 0, "rotate", "head width");
  require(angles.half >= 0 && 2 * angles.half <= head_width, "rotate", "rotated width");
}

void require_kv(const StepBatch& step, const KvLayer& cache, Matrix k, Matrix v) {
  require(k.rows == step.n_rows() && same_shape(k, v), "store_kv", "rows");
  require(k.cols == cache.n_kv_heads * cache.head_width, "store_kv", "width");
}

}  // namespace

// Memory that all of a machine's programs share.
uint64_t Backend::memory_for_cache() const {
  return available_memory() / 4;
}

void Backend::check_cancelled() const {
  if (cancelled()) fail(ErrorCode::kCancelled, "the computation was cancelled");
}

void Backend::embed(const Weight& table, std::span<const int32_t> tokens, float scale, Matrix out) {
  require(static_cast<int64_t>(tokens.size()) == out.rows, "embed", "rows");
  require(table.cols() == out.cols, "embed", "width");
  for (const int32_t token : tokens)
    require(token >= 0 && token < table.rows(), "embed", "token id");
  run_embed(table, tokens, scale, out);
}

void Backend::gather(Matrix in, std::span<const int32_t> rows, Matrix out) {
  require(static_cast<int64_t>(rows.size()) == out.rows && in.cols == out.cols, "gather", "shape");
  for (const int32_t row : rows) require(row >= 0 && row < in.rows, "gather", "row");
  run_gather(in, rows, out);
}

void Backend::norm(NormKind kind, Matrix in, Vector weight, Vector bias, float eps, Matrix out) {
  require(same_shape(in, out), "norm", "shape");
  require(weight.data && weight.n == in.cols, "norm", "weight");
  require(!bias.data || (kind == NormKind::kLayer && bias.n == in.cols), "norm", "bias");
  run_norm(kind, in, weight, bias, eps, out);
}

void Backend::linear(std::span<const Product> products, Matrix in) {
  require_products(products, in);
  if (!cancelled()) run_linear(products, in);
}

void Backend::linear_with_lora(std::span<const Product> products,
                               std::span<const LoraProduct> additions, Matrix in) {
  require_products(products, in);
  require_additions(additions, in);
  for (const LoraProduct& addition : additions) {
    const auto is_its = [&](const Product& product) {
      return product.out.data == addition.out.data && product.out.cols == addition.out.cols;
    };
    require(std::ranges::any_of(products, is_its), "linear_with_lora", "output");
  }
  if (!cancelled()) run_linear_with_lora(products, additions, in);
}

void Backend::run_linear_with_lora(std::span<const Product> products,
                                   std::span<const LoraProduct> additions, Matrix in) {
  run_linear(products, in);
  run_add_lora(additions, in);
}

void Backend::add_lora(std::span<const LoraProduct> products, Matrix in) {
  require_additions(products, in);
  if (!cancelled()) run_add_lora(products, in);
}

void Backend::add_lora_rows(std::span<const LoraProduct> products,
                            std::span<const int32_t> tokens) {
  for (const LoraProduct& product : products) {
    require_lora(product, static_cast<int64_t>(tokens.size()));
    require(product.down.cols == product.up.rows, "add_lora_rows", "rank");
    for (const int32_t row : product.rows) {
      const int32_t token = tokens[static_cast<size_t>(row)];
      require(token >= 0 && token < product.down.rows, "add_lora_rows", "token");
    }
  }
  if (!cancelled()) run_add_lora_rows(products, tokens);
}

void Backend::shortlist(Matrix logits, int64_t width, TopLogit* out) {
  require(width >= 1 && width <= logits.cols && width <= max_shortlist(), "shortlist", "width");
  if (logits.rows > 0) run_shortlist(logits, width, out);
}

void Backend::run_shortlist(Matrix, int64_t, TopLogit*) {
  fail(ErrorCode::kDevice, description(), " does not list logits");
}

void Backend::add(Matrix x, Matrix y, float scale) {
  require(same_shape(x, y), "add", "shape");
  run_add(x, y, scale);
}

void Backend::scale(Matrix x, float factor) {
  run_scale(x, factor);
}

void Backend::softcap(Matrix x, float cap) {
  require(cap > 0, "softcap", "cap");
  run_softcap(x, cap);
}

void Backend::activate(Activation kind, Matrix x) {
  run_activate(kind, x);
}

void Backend::gate(Activation kind, Matrix gate, Matrix up, Matrix out) {
  require(same_shape(gate, up) && same_shape(gate, out), "gate", "shape");
  run_gate(kind, gate, up, out);
}

void Backend::scale_by_sigmoid(Matrix x, Matrix logits) {
  require(logits.rows == x.rows && logits.cols == 1, "scale_by_sigmoid", "shape");
  run_scale_by_sigmoid(x, logits);
}

void Backend::rotate(Matrix x, int64_t head_width, RopeAngles angles) {
  require_rotation(x, head_width, angles);
  run_rotate(x, head_width, angles);
}

void Backend::store_kv(const StepBatch& step, const KvLayer& cache, Matrix k, Matrix v) {
  require_kv(step, cache, k, v);
  run_store_kv(step, cache, k, v);
}

void Backend::rotate_and_store_kv(const StepBatch& step, const KvLayer& cache, RopeAngles angles,
                                  Matrix q, Matrix k, Matrix v) {
  require(q.rows == step.n_rows(), "rotate_and_store_kv", "rows");
  require_rotation(q, cache.head_width, angles);
  require_kv(step, cache, k, v);
  run_rotate_and_store_kv(step, cache, angles, q, k, v);
}

void Backend::run_rotate_and_store_kv(const StepBatch& step, const KvLayer& cache,
                                      RopeAngles angles, Matrix q, Matrix k, Matrix v) {
  run_rotate(q, cache.head_width, angles);
  run_rotate(k, cache.head_width, angles);
  run_store_kv(step, cache, k, v);
}

void Backend::attend(const StepBatch& step, const KvLayer& cache, const AttentionShape& shape,
                     Matrix q, Matrix out) {
  require(q.rows == step.n_rows() && same_shape(q, out), "attend", "rows");
  require(q.cols == shape.n_heads * shape.head_width, "attend", "query width");
  require(shape.n_kv_heads == cache.n_kv_heads && shape.head_width == cache.head_width, "attend",
          "cache");
  require(shape.n_kv_heads > 0 && shape.n_heads % shape.n_kv_heads == 0, "attend", "heads");
  if (!cancelled()) run_attend(step, cache, shape, q, out);
}

void Backend::route(Matrix logits, bool renormalize, Routing out) {
  require(out.n_used >= 1 && out.n_used <= logits.cols, "route", "experts used");
  run_route(logits, renormalize, out);
}

void Backend::experts(const ExpertBank& bank, Activation kind, Matrix in, Routing routing,
                      const ExpertScratch& scratch, Matrix out) {
  const int64_t n = in.rows * routing.n_used, width = scratch.gate.cols;
  require(same_shape(in, out), "experts", "output");
  require(bank.gate->rows() == bank.n_experts * width && bank.gate->cols() == in.cols, "experts",
          "gate");
  require(bank.up->rows() == bank.gate->rows() && bank.up->cols() == in.cols, "experts", "up");
  require(bank.down->rows() == bank.n_experts * in.cols && bank.down->cols() == width, "experts",
          "down");
  require(scratch.in.rows >= n && scratch.out.rows >= n && scratch.gate.rows >= n &&
              scratch.up.rows >= n,
          "experts", "scratch");
  if (!cancelled()) run_experts(bank, kind, in, routing, scratch, out);
}

}  // namespace realm
