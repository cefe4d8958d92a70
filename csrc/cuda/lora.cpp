// What adapters add to products: the rows of all products of a call become tiles and chains
// (gpu/lora_plan.h), and two launches serve them all.
#include <cstring>

#include "cuda/on_device.h"

namespace realm::cuda {

namespace {

uint64_t address_of(const void* address) {
  return reinterpret_cast<uint64_t>(address);
}

template <class T>
void append(std::vector<std::byte>& bytes, const std::vector<T>& items) {
  static_assert(sizeof(T) % 8 == 0 || sizeof(T) == sizeof(int32_t));
  const size_t at = bytes.size(), n = items.size() * sizeof(T);
  bytes.resize(at + n);
  if (n > 0) std::memcpy(bytes.data() + at, items.data(), n);
}

}  // namespace

const std::byte* CudaBackend::put_table(std::span<const std::byte> table) {
  if (is_capturing()) return graphs_->keep_table(table);
  if (graphs_) graphs_->note_table(table);
  return tables_.put(table, stream_);
}

CudaBackend::LoraWork CudaBackend::upload_lora(const gpu::LoraPlan& plan, const int32_t* parts) {
  lora_bytes_.clear();
  append(lora_bytes_, plan.tasks);
  append(lora_bytes_, plan.tiles);
  append(lora_bytes_, plan.links);
  append(lora_bytes_, plan.chains);
  append(lora_bytes_, plan.rows);  // last: the others are multiples of 8 bytes
  const std::byte* next = put_table(lora_bytes_);
  const auto take = [&]<class T>(const std::vector<T>& items) {
    const auto* at = reinterpret_cast<const T*>(next);
    next += items.size() * sizeof(T);
    return at;
  };
  LoraTables tables{};
  tables.tasks = take(plan.tasks);
  tables.tiles = take(plan.tiles);
  tables.links = take(plan.links);
  tables.chains = take(plan.chains);
  tables.rows = take(plan.rows);
  tables.parts = parts;
  tables.n_tiles = static_cast<int64_t>(plan.tiles.size());
  tables.n_chains = static_cast<int64_t>(plan.chains.size());
  tables.max_rank = plan.max_rank;
  tables.max_cols = plan.max_cols;
  tables.max_rows = plan.max_rows;
  return {tables, coefficients_.reserve_of<float>(plan.n_coefficients)};
}

void CudaBackend::run_add_lora(std::span<const LoraProduct> products, Matrix in) {
  on_device_reading(in, [&] {
    const auto [tables, coefficients] = upload_lora(lora_.plan(products, address_of), nullptr);
    launch_lora_shrink(tables, in.data, in.cols, coefficients, stream_);
    launch_lora_expand(tables, coefficients, stream_);
  });
}

void CudaBackend::run_add_lora_rows(std::span<const LoraProduct> products,
                                    std::span<const int32_t> tokens) {
  on_device([&] {
    const auto [tables, coefficients] = upload_lora(lora_.plan(products, address_of), nullptr);
    launch_lora_look_up(tables, upload_tokens(tokens), coefficients, stream_);
    launch_lora_expand(tables, coefficients, stream_);
  });
}

// Rows with the same adapters in all experts; one group without adapters.
RowGroupsOnDevice CudaBackend::group_rows(std::span<const ExpertLora> lora, int64_t n_rows) {
  if (lora.empty()) return {nullptr, 1};
  lora_.begin_experts(lora, n_rows);
  const auto groups = std::as_bytes(lora_.groups().group_of_row());
  return {reinterpret_cast<const int32_t*>(put_table(groups)), lora_.groups().n_groups()};
}

// What adapters add to parts of the experts that share the input `in`, a row for each ordered
// choice.
void CudaBackend::add_expert_lora(std::span<const ExpertLora> lora,
                                  std::initializer_list<std::pair<ExpertPart, Matrix>> parts,
                                  Matrix in, const SortedChoices& sorted) {
  if (lora.empty()) return;
  lora_.begin_input();
  for (const auto& [part, out] : parts) lora_.add_experts(lora, part, out, address_of);
  const auto [tables, coefficients] = upload_lora(lora_.experts(), sorted.parts);
  launch_lora_shrink(tables, in.data, in.cols, coefficients, stream_);
  launch_lora_expand(tables, coefficients, stream_);
}

}  // namespace realm::cuda
