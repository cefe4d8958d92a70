// Products of adapters laid out for kernels, on the host. Rows of an output that have the same
// adapters are a group, whatever the spans of rows that products name (gpu/row_groups.h); a group
// is cut into tiles of kLoraRows rows, and its coefficients lie together, row by row.
//
// Of single experts only the device knows who chose them. There rows are grouped once for all
// experts, and each expert gets the tiles of each group as if all of its rows had chosen it; a
// kernel leaves those that have no rows. Group g of expert e is part e * n_parts() + g of the
// ordered choices; an expert has a power of two of parts, so that most steps have as many.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "backend/operands.h"
#include "gpu/lora_work.h"
#include "gpu/row_groups.h"

namespace realm::gpu {

struct LoraPlan {
  std::vector<LoraTask> tasks;
  std::vector<int32_t> rows;  // that tiles and chains name
  std::vector<LoraTile> tiles;
  std::vector<LoraLink> links;
  std::vector<LoraChain> chains;
  int64_t n_coefficients = 0, max_rank = 0, max_cols = 0;
  int max_rows = 0;  // of a tile or chain
};

// A device's address of an operand; of null, 0.
using AddressOf = std::function<uint64_t(const void*)>;

// Keeps the memory of its plan, so that a plan of a size seen before allocates nothing.
class LoraPlanner {
 public:
  // Products as add_lora() takes them.
  const LoraPlan& plan(std::span<const LoraProduct> products, const AddressOf& address_of);

  // The same for experts: groups of rows once, then for each input the parts that share it, each
  // with the matrix that has a row for each ordered choice.
  void begin_experts(std::span<const ExpertLora> lora, int64_t n_rows);
  void begin_input() { clear(); }
  void add_experts(std::span<const ExpertLora> lora, ExpertPart part, Matrix out,
                   const AddressOf& address_of);
  const RowGroups& groups() const { return groups_; }
  int n_parts() const;  // of an expert
  const LoraPlan& experts() const { return plan_; }

 private:
  struct Source {
    const LoraProduct* product;
    int64_t expert;
    int span;
  };
  // A group's coefficients of one product.
  struct Shrunk {
    const LoraProduct* product;
    int first_row, n_rows;
    int64_t coefficients;
  };

  void clear();
  int add_tasks(std::span<const Source> sources, const AddressOf& address_of);
  void add_group(std::span<const Source> sources, int first_task, int group, LoraRows rows,
                 Matrix out, uint64_t address);
  int64_t shrink(const LoraProduct& product, int task, LoraRows rows);
  const Shrunk* find_shrunk(const LoraProduct& product, LoraRows rows) const;
  bool same_rows(int first, int other, int n) const;

  LoraPlan plan_;
  RowGroups groups_;
  std::vector<Source> sources_;                 // of the output that is planned
  std::vector<Shrunk> shrunk_, shrunk_before_;  // of this output, and of the one before
};

}  // namespace realm::gpu
