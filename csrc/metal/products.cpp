// Matrix products and mixtures of experts: the kernel is chosen by the weight's format and the
// number of rows.
#include "metal/on_device.h"

namespace realm::metal {

namespace {

constexpr int64_t kFewQuantRows = msl::kVectorRows, kFewFloatRows = msl::kVectorFloatRows;
// Of an expert on average: its rows are not known on the host.
constexpr int64_t kFewExpertRows = 4;

}  // namespace

void MetalBackend::multiply(const MetalWeight& weight, int64_t first_row, Vector bias, Matrix in,
                            Matrix out, const Segments& segments) {
  const bool quantized = weight.format() >= WeightFormat::kQ4_0;
  const int64_t few = segments.starts ? kFewExpertRows * segments.n_experts
                      : quantized     ? kFewQuantRows
                                      : kFewFloatRows;
  const msl::ProductParams params{
      in.rows, out.cols, in.cols, first_row, bias.data != nullptr, segments.starts != nullptr};
  const std::initializer_list<Place> places = {weight.place(), at(in.data), at(bias.data),
                                               at(segments.starts), at(out.data)};
  const int format = static_cast<int>(weight.format());
  if (deterministic_ || in.rows <= few) {
    const int64_t outputs = msl::kVectorSimds * (quantized ? msl::kVectorOutputs : 1);
    const int64_t rows = quantized ? msl::kVectorRows : msl::kVectorFloatRows;
    launch(member(Kernel::kVector, format),
           {div_up(out.cols, outputs), div_up(in.rows, rows), segments.n_experts}, places, params);
  } else {
    launch(
        member(Kernel::kMatrix, format),
        {div_up(out.cols, msl::kMatrixCols), div_up(in.rows, msl::kMatrixRows), segments.n_experts},
        places, params);
  }
}

void MetalBackend::run_linear(std::span<const Product> products, Matrix in) {
  on_device([&] {
    for (const Product& product : products) {
      multiply(metal_weight(*product.weight.weight), product.weight.first_row, product.bias, in,
               product.out, {});
    }
  });
}

void MetalBackend::run_route(Matrix logits, bool renormalize, Routing out) {
  on_device([&] {
    const msl::RouteParams params{logits.rows, static_cast<int>(logits.cols),
                                  static_cast<int>(out.n_used), renormalize};
    launch(Kernel::kRoute, {div_up(logits.rows, msl::kExpertThreads / msl::kSimd)},
           {at(logits.data), at(out.expert), at(out.weight)}, params);
  });
}

void MetalBackend::run_experts(const ExpertBank& bank, Activation kind, Matrix in, Routing routing,
                               const ExpertScratch& scratch, Matrix out) {
  on_device([&] {
    const int64_t n = in.rows * routing.n_used;
    // Rows with the same adapters in all experts; one group without adapters.
    Place group_of_row;
    int n_groups = 1;
    if (!bank.lora.empty()) {
      lora_.begin_experts(bank.lora, in.rows);
      group_of_row = step_.put(lora_.groups().group_of_row());
      n_groups = lora_.n_parts();
    }
    const int64_t n_segments = bank.n_experts + 1, n_parts = bank.n_experts * n_groups + 1;
    auto* starts = choices_.reserve_of<int32_t>(n_segments + n_parts + n);
    int32_t *parts = starts + n_segments, *place_of = parts + n_parts;
    const Segments segments{starts, bank.n_experts};
    const Matrix rows = scratch.in.first_rows(n), gates = scratch.gate.first_rows(n),
                 ups = scratch.up.first_rows(n), downs = scratch.out.first_rows(n);
    const auto n_used = static_cast<int>(routing.n_used);
    launch(
        Kernel::kSortChoices, {n > 0 ? 1 : 0},
        {at(routing.expert), group_of_row, at(starts), at(parts), at(place_of)},
        msl::SortParams{static_cast<int>(n), static_cast<int>(bank.n_experts), n_used, n_groups});
    launch_elements(Kernel::kScatterRows, n * in.cols, {at(in.data), at(place_of), at(rows.data)},
                    msl::ChoiceParams{n * in.cols, in.cols, n_used});
    multiply(metal_weight(*bank.gate), 0, {}, rows, gates, segments);
    multiply(metal_weight(*bank.up), 0, {}, rows, ups, segments);
    add_expert_lora(bank.lora, {{ExpertPart::kGate, gates}, {ExpertPart::kUp, ups}}, rows,
                    at(parts));
    launch_elements(Kernel::kGate, n * gates.cols, {at(gates.data), at(ups.data), at(gates.data)},
                    msl::ActivateParams{n * gates.cols, kind});
    multiply(metal_weight(*bank.down), 0, {}, gates, downs, segments);
    add_expert_lora(bank.lora, {{ExpertPart::kDown, downs}}, gates, at(parts));
    const int64_t n_out = out.rows * out.cols;
    launch_elements(
        Kernel::kCombine, n_out,
        {at(downs.data), at(place_of), at(routing.expert), at(routing.weight), at(out.data)},
        msl::ChoiceParams{n_out, out.cols, n_used});
  });
}

}  // namespace realm::metal
