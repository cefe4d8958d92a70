// Matrix products: the input is brought into the form that a weight's kernel takes once, whatever
// the number of products, and the kernel is chosen by the number of rows.
#include <algorithm>

#include "cuda/on_device.h"

namespace realm::cuda {

namespace {

constexpr int64_t kFewQuantRows = 8, kFewFloatRows = 4;
// Of an expert on average: its rows are not known on the host.
constexpr int64_t kFewExpertRows = 4;
constexpr size_t kMostIntegerInputs = 16;
// From here on the vendor's library, where there is one: fewer rows leave most of a card idle, and
// its launches are dearer than ours.
constexpr int64_t kLibraryRows = 256;
// The same for quantized weights, which must be decoded for it: 14336 x 4096 values take some 65 us
// of an H200's bandwidth to decode, the library then 0.17 us a row, and our integers 0.3 to 0.5.
constexpr int64_t kDecodedRows = 512;
constexpr int64_t kMostDecodedRows = 4096, kDecodedBytes = 32 << 20;  // of a weight at a time: L2

}  // namespace

class CudaBackend::Inputs {
 public:
  Inputs(CudaBackend& backend, Matrix in) : backend_(backend), in_(in) {}

  Matrix plain() const { return in_; }

  QuantizedRows quantized() { return backend_.quantized_of(in_); }

  // Products of one group rarely differ in their kind of 16-bit float; if they do, it is made anew.
  const NarrowRows& narrow(bool brain) {
    if (!narrow_.values || brain != brain_) {
      const int64_t stride = (in_.cols + 7) / 8 * 8;
      narrow_ = {backend_.halves_.reserve_of<uint16_t>(in_.rows * stride),
                 backend_.half_factors_.reserve_of<float>(in_.rows), stride};
      brain_ = brain;
      launch_narrow(in_.data, narrow_, brain, in_.rows, in_.cols, backend_.stream_);
    }
    return narrow_;
  }

 private:
  CudaBackend& backend_;
  const Matrix in_;
  NarrowRows narrow_{};
  bool brain_ = false;
};

QuantizedRows CudaBackend::quantized_of(Matrix in) {
  const bool fresh =
      quantized_.data == in.data && quantized_.cols == in.cols && quantized_.rows >= in.rows;
  const QuantizedRows out = room_for_quants(in);
  if (fresh) return out;
  launch_quantize(in.data, out, in.rows, in.cols, stream_);
  quantized_ = in;
  if (!takes_integers(in)) {
    if (integer_inputs_.size() == kMostIntegerInputs)
      integer_inputs_.erase(integer_inputs_.begin());
    integer_inputs_.push_back(in);
  }
  return out;
}

QuantizedRows CudaBackend::quantize_with(Matrix out) {
  if (out.rows == 0 || !takes_integers(out)) return {};
  const QuantizedRows rows = room_for_quants(out);
  quantized_ = out;
  return rows;
}

bool CudaBackend::takes_integers(Matrix in) const {
  return std::ranges::any_of(integer_inputs_, [&](const Matrix& one) {
    return one.data == in.data && one.cols == in.cols;
  });
}

QuantizedRows CudaBackend::room_for_quants(Matrix in) {
  const int64_t n = in.rows * in.cols;
  return {quants_.reserve_of<int8_t>(n), quant_scales_.reserve_of<float>(n / 32 * 2)};
}

bool CudaBackend::multiply_by_library(const PackedWeight& weight, const ProductShape& shape,
                                      Inputs& inputs, float* out) {
  if (!library_ || shape.segments || shape.n_in < kLibraryRows) return false;
  const bool brain = weight.packing == Packing::kBF16;
  const NarrowRows& in = inputs.narrow(brain);
  const auto* rows =
      reinterpret_cast<const uint16_t*>(weight.quants) + shape.first_row * weight.stride;
  const bool done = library_->multiply({rows, weight.stride, in.values, in.stride, out, shape.n_out,
                                        shape.n_in, shape.n_out, weight.n_cols, brain},
                                       workspace_.reserve(DenseLibrary::kWorkspaceBytes), stream_);
  if (done && !(brain && !shape.bias)) launch_finish_half(shape, in.factors, out, stream_);
  return done;
}

// Pieces of the weight are decoded and multiplied in turn. False may come after some of them, of
// which nothing is then used.
bool CudaBackend::multiply_decoded(const PackedWeight& weight, const ProductShape& shape,
                                   Inputs& inputs, float* out) {
  if (!library_ || shape.segments || shape.n_in < kDecodedRows) return false;
  const int64_t cols = weight.n_cols, fitting = kDecodedBytes / (2 * cols) / 64 * 64;
  const int64_t at_once = std::clamp<int64_t>(fitting, 64, kMostDecodedRows);
  const NarrowRows& in = inputs.narrow(true);
  auto* rows = decoded_.reserve_of<uint16_t>(std::min(at_once, shape.n_out) * cols);
  for (int64_t first = 0; first < shape.n_out; first += at_once) {
    const int64_t n = std::min(at_once, shape.n_out - first);
    launch_decode_brain(weight, shape.first_row + first, n, rows, stream_);
    if (!library_->multiply(
            {rows, cols, in.values, in.stride, out + first, shape.n_out, shape.n_in, n, cols, true},
            workspace_.reserve(DenseLibrary::kWorkspaceBytes), stream_))
      return false;
  }
  if (shape.bias) launch_finish_half(shape, in.factors, out, stream_);
  return true;
}

void CudaBackend::multiply(const PackedWeight& weight, int64_t first_row, Vector bias, Matrix out,
                           Inputs& inputs, const Segments& segments) {
  const Matrix in = inputs.plain();
  const ProductShape shape{in.rows,   out.cols,        first_row,
                           bias.data, segments.starts, segments.n_experts};
  const bool quantized = is_quantized(weight.packing);
  const int64_t few = segments.starts ? kFewExpertRows * segments.n_experts
                      : quantized     ? kFewQuantRows
                                      : kFewFloatRows;
  const bool by_vector = deterministic_ || in.rows <= few;
  if (quantized && by_vector) {
    launch_vector_quant(weight, shape, inputs.quantized(), out.data, stream_);
  } else if (quantized && multiply_decoded(weight, shape, inputs, out.data)) {
    return;
  } else if (quantized) {
    launch_matrix_quant(weight, shape, inputs.quantized(), out.data, stream_);
  } else if (by_vector || weight.packing == Packing::kF32) {
    launch_vector_float(weight, shape, in.data, out.data, stream_);
  } else if (!multiply_by_library(weight, shape, inputs, out.data)) {
    const bool brain = weight.packing == Packing::kBF16;
    launch_matrix_half(weight, shape, inputs.narrow(brain), out.data, stream_);
  }
}

void CudaBackend::run_linear(std::span<const Product> products, Matrix in) {
  on_device_reading(in, [&] {
    Inputs inputs(*this, in);
    for (const Product& product : products) {
      if (in.rows == 0 || product.out.cols == 0) continue;
      multiply(packed_of(*product.weight.weight), product.weight.first_row, product.bias,
               product.out, inputs, {});
    }
  });
}

void CudaBackend::run_route(Matrix logits, bool renormalize, Routing out) {
  on_device([&] {
    launch_route(logits.data, logits.rows, logits.cols, out.n_used, renormalize, out.expert,
                 out.weight, stream_);
  });
}

void CudaBackend::run_experts(const ExpertBank& bank, Activation kind, Matrix in, Routing routing,
                              const ExpertScratch& scratch, Matrix out) {
  const int64_t n = in.rows * routing.n_used;
  const Matrix rows = scratch.in.first_rows(n), gates = scratch.gate.first_rows(n),
               ups = scratch.up.first_rows(n), downs = scratch.out.first_rows(n);
  const auto add_before = [&](const SortedChoices& sorted) {
    add_expert_lora(bank.lora, {{ExpertPart::kGate, gates}, {ExpertPart::kUp, ups}}, rows, sorted);
  };
  const auto add_after = [&](const SortedChoices& sorted) {
    add_expert_lora(bank.lora, {{ExpertPart::kDown, downs}}, gates, sorted);
  };
  if (is_planning()) {
    group_rows(bank.lora, in.rows);
    add_before({});
    add_after({});
  }
  on_device([&] {
    const RowGroupsOnDevice groups = group_rows(bank.lora, in.rows);
    const int64_t n_segments = bank.n_experts + 1, n_parts = bank.n_experts * groups.n_groups + 1;
    auto* starts = choices_.reserve_of<int32_t>(n_segments + n_parts + n);
    const SortedChoices sorted{starts, starts + n_segments, starts + n_segments + n_parts};
    const Segments segments{sorted.segments, bank.n_experts};
    launch_sort_choices(routing.expert, n, bank.n_experts, routing.n_used, groups, sorted, stream_);
    launch_scatter_rows(in.data, sorted.place_of, n, routing.n_used, in.cols, rows.data, stream_);
    Inputs inputs(*this, rows);
    multiply(packed_of(*bank.gate), 0, {}, gates, inputs, segments);
    multiply(packed_of(*bank.up), 0, {}, ups, inputs, segments);
    add_before(sorted);
    launch_gate(kind, gates.data, ups.data, gates.data, quantize_with(gates), n * gates.cols,
                stream_);
    Inputs gated(*this, gates);
    multiply(packed_of(*bank.down), 0, {}, downs, gated, segments);
    add_after(sorted);
    launch_combine_experts(downs.data, sorted.place_of, routing.expert, routing.weight, in.rows,
                           routing.n_used, in.cols, out.data, stream_);
  });
}

}  // namespace realm::cuda
