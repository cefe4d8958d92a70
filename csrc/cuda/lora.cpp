// What adapters add to products: the rows of all products of a call become tiles and chains
// (gpu/lora_plan.h), and two launches serve them all.
#include <algorithm>
#include <cstring>

#include "cuda/on_device.h"

namespace realm::cuda {

namespace {

uint64_t address_of(const void* address) {
  return reinterpret_cast<uint64_t>(address);
}

constexpr int64_t kLeastCoefficients = 64 << 10;

// Of a plan's tables, and what decides its launches.
struct LoraShape {
  int64_t n_tasks, n_tiles, n_links, n_chains, n_rows, n_coefficients, max_rank, max_cols;
  int max_rows;
};

// Of a step whose launches are kept all is rounded up, so that they serve others: what is too much
// finds no rows, or no such rank. Coefficients lie in working memory, which stays as it is then, so
// that there is room for those of most steps from the first one on.
LoraShape shape_of(const gpu::LoraPlan& plan, bool is_kept) {
  const auto room = [&](int64_t n) { return is_kept && n > 0 ? StepGraphs::rounded(n) : n; };
  return {room(std::ssize(plan.tasks)),
          room(std::ssize(plan.tiles)),
          room(std::ssize(plan.links)),
          room(std::ssize(plan.chains)),
          room(std::ssize(plan.rows)),
          std::max(kLeastCoefficients, StepGraphs::rounded(plan.n_coefficients)),
          room(plan.max_rank),
          plan.max_cols,
          is_kept && plan.max_rows > 1 ? gpu::kLoraRows : plan.max_rows};
}

// With room for `n`; the rest is `filler`.
template <class T>
void append(std::vector<std::byte>& bytes, const std::vector<T>& items, int64_t n,
            const T& filler = {}) {
  static_assert(sizeof(T) % 8 == 0 || sizeof(T) == sizeof(int32_t));
  const size_t at = bytes.size(), room = static_cast<size_t>(n);
  bytes.resize(at + room * sizeof(T));
  if (!items.empty()) std::memcpy(bytes.data() + at, items.data(), items.size() * sizeof(T));
  for (size_t i = items.size(); i < room; ++i)
    std::memcpy(bytes.data() + at + i * sizeof(T), &filler, sizeof(T));
}

void lay_out(const gpu::LoraPlan& plan, const LoraShape& shape, std::vector<std::byte>& bytes) {
  constexpr gpu::LoraRows kNoRows{0, 0, -1, 0};
  bytes.clear();
  append(bytes, plan.tasks, shape.n_tasks);
  append(bytes, plan.tiles, shape.n_tiles, {kNoRows, 0, 0, 0});
  append(bytes, plan.links, shape.n_links);
  append(bytes, plan.chains, shape.n_chains, {kNoRows, 0, 0, 0, 0, 0, 0});
  append(bytes, plan.rows, shape.n_rows);  // last: the others are multiples of 8 bytes
}

LoraTables tables_at(const std::byte* bytes, const LoraShape& shape, const int32_t* parts) {
  const auto take = [&]<class T>(const T*& at, int64_t n) {
    at = reinterpret_cast<const T*>(bytes);
    bytes += static_cast<size_t>(n) * sizeof(T);
  };
  LoraTables tables{};
  take(tables.tasks, shape.n_tasks);
  take(tables.tiles, shape.n_tiles);
  take(tables.links, shape.n_links);
  take(tables.chains, shape.n_chains);
  take(tables.rows, shape.n_rows);
  tables.parts = parts;
  tables.n_tiles = shape.n_tiles;
  tables.n_chains = shape.n_chains;
  tables.max_rank = shape.max_rank;
  tables.max_cols = shape.max_cols;
  tables.max_rows = shape.max_rows;
  return tables;
}

}  // namespace

const std::byte* CudaBackend::put_table(std::span<const std::byte> table,
                                        std::initializer_list<int64_t> form) {
  if (is_planning() || is_capturing()) return graphs_->table(table, form);
  return tables_.put(table, stream_);
}

// Nothing is launched for the tables of a step that is only planned.
CudaBackend::LoraWork CudaBackend::upload_lora(const gpu::LoraPlan& plan, Matrix in,
                                               const int32_t* parts) {
  const LoraShape shape = shape_of(plan, is_planning() || is_capturing());
  lay_out(plan, shape, lora_bytes_);
  const std::byte* at = put_table(
      lora_bytes_, {static_cast<int64_t>(address_of(in.data)), in.cols, shape.n_tasks,
                    shape.n_tiles, shape.n_links, shape.n_chains, shape.n_rows,
                    shape.n_coefficients, shape.max_rank, shape.max_cols, shape.max_rows});
  if (is_planning()) return {};
  return {tables_at(at, shape, parts), coefficients_.reserve_of<float>(shape.n_coefficients)};
}

void CudaBackend::run_add_lora(std::span<const LoraProduct> products, Matrix in) {
  const gpu::LoraPlan& plan = lora_.plan(products, address_of);
  if (is_planning()) {
    upload_lora(plan, in, nullptr);
    return;
  }
  on_device_reading(in, [&] {
    const auto [tables, coefficients] = upload_lora(plan, in, nullptr);
    launch_lora_shrink(tables, in.data, in.cols, coefficients, stream_);
    launch_lora_expand(tables, coefficients, stream_);
  });
}

void CudaBackend::run_add_lora_rows(std::span<const LoraProduct> products,
                                    std::span<const int32_t> tokens) {
  const gpu::LoraPlan& plan = lora_.plan(products, address_of);
  if (is_planning()) {
    upload_lora(plan, {}, nullptr);
    return;
  }
  on_device([&] {
    const auto [tables, coefficients] = upload_lora(plan, {}, nullptr);
    launch_lora_look_up(tables, upload_tokens(tokens), coefficients, stream_);
    launch_lora_expand(tables, coefficients, stream_);
  });
}

// Rows with the same adapters in all experts; one group without adapters.
RowGroupsOnDevice CudaBackend::group_rows(std::span<const ExpertLora> lora, int64_t n_rows) {
  if (lora.empty()) return {nullptr, 1};
  lora_.begin_experts(lora, n_rows);
  const auto groups = std::as_bytes(lora_.groups().group_of_row());
  const int n_groups = lora_.n_parts();
  return {reinterpret_cast<const int32_t*>(put_table(groups, {n_groups})), n_groups};
}

// What adapters add to parts of the experts that share the input `in`, a row for each ordered
// choice.
void CudaBackend::add_expert_lora(std::span<const ExpertLora> lora,
                                  std::initializer_list<std::pair<ExpertPart, Matrix>> parts,
                                  Matrix in, const SortedChoices& sorted) {
  if (lora.empty()) return;
  lora_.begin_input();
  for (const auto& [part, out] : parts) lora_.add_experts(lora, part, out, address_of);
  const auto [tables, coefficients] = upload_lora(lora_.experts(), in, sorted.parts);
  launch_lora_shrink(tables, in.data, in.cols, coefficients, stream_);
  launch_lora_expand(tables, coefficients, stream_);
}

}  // namespace realm::cuda
