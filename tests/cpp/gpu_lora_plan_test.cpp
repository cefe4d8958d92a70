// How products of adapters are cut for GPUs: every row gets its products in their order, and rows
// that share adapters share tiles.
#include <map>
#include <random>
#include <set>

#include "cpp/harness.h"
#include "gpu/lora_plan.h"

using namespace realm;
using gpu::LoraPlan;

namespace {

std::byte memory[64];
float outputs[2];

uint64_t address_of(const void* address) {
  return reinterpret_cast<uint64_t>(address);
}

LoraProduct product_of(size_t id, const std::vector<int32_t>& rows, int64_t rank, Matrix out) {
  LoraProduct product;
  product.down = {memory + id, DType::kF32, rank, 100, 100};
  product.up = {memory + id, DType::kF32, rank, out.cols, out.cols};
  product.rows = rows;
  product.out = out;
  return product;
}

using Row = std::pair<const float*, int32_t>;  // of an output

// The products of each row in their order, as the plan has them; also that coefficients are made
// where they are read, by the same product from the same row.
std::map<Row, std::vector<uint64_t>> products_in(const LoraPlan& plan) {
  std::map<int64_t, std::pair<uint64_t, int32_t>> made;  // at each place: by what, from which row
  for (const gpu::LoraTile& tile : plan.tiles) {
    const gpu::LoraTask& task = plan.tasks[static_cast<size_t>(tile.task)];
    EXPECT(tile.rows.n >= 1 && tile.rows.n <= gpu::kLoraRows && task.rank > 0);
    for (int i = 0; i < tile.rows.n; ++i) {
      const int32_t row = plan.rows[static_cast<size_t>(tile.rows.first + i)];
      const int64_t at = tile.coefficients + i * task.rank;
      EXPECT(at >= 0 && at + task.rank <= plan.n_coefficients);
      EXPECT(made.emplace(at, std::pair(task.down, row)).second);
    }
  }
  std::map<Row, std::vector<uint64_t>> found;
  for (const gpu::LoraChain& chain : plan.chains) {
    for (int i = 0; i < chain.rows.n; ++i) {
      const int32_t row = plan.rows[static_cast<size_t>(chain.rows.first + i)];
      auto& products = found[{reinterpret_cast<const float*>(chain.out), row}];
      EXPECT(products.empty());
      for (int link = chain.first_link; link < chain.first_link + chain.n_links; ++link) {
        const gpu::LoraLink& one = plan.links[static_cast<size_t>(link)];
        const gpu::LoraTask& task = plan.tasks[static_cast<size_t>(one.task)];
        products.push_back(task.down);
        if (task.rank == 0) continue;
        const auto source = made.find(one.coefficients + (chain.first_of_link + i) * task.rank);
        EXPECT(source != made.end() && source->second == std::pair(task.down, row));
      }
    }
  }
  return found;
}

}  // namespace

TEST(every_row_gets_its_products_in_their_order_whatever_the_spans) {
  std::mt19937 random(3);
  gpu::LoraPlanner planner;
  for (int round = 0; round < 200; ++round) {
    const auto n_rows = static_cast<int32_t>(1 + random() % 40);
    const size_t n_products = random() % 9;
    std::vector<std::vector<int32_t>> spans(n_products);
    for (auto& span : spans) {
      for (int32_t row = 0; row < n_rows; ++row)
        if (random() % 3 != 0) span.push_back(row);
    }
    std::vector<LoraProduct> products;
    std::map<Row, std::vector<uint64_t>> expected;
    for (float& output : outputs) {
      for (size_t i = 0; i < n_products; ++i) {
        const auto& rows = spans[random() % n_products];
        products.push_back(product_of(i, rows, static_cast<int64_t>(i % 4), {&output, n_rows, 30}));
        for (const int32_t row : rows) expected[{&output, row}].push_back(address_of(memory + i));
      }
    }
    EXPECT(products_in(planner.plan(products, address_of)) == expected);
  }
}

TEST(a_factor_is_read_once_for_each_eight_rows_of_its_adapter) {
  std::vector<int32_t> many(100), others;
  for (int32_t i = 0; i < 100; ++i) many[static_cast<size_t>(i)] = i;
  for (int32_t i = 100; i < 132; ++i) others.push_back(i);
  const Matrix out{outputs, 132, 30};
  const LoraProduct products[] = {product_of(0, many, 16, out), product_of(1, others, 16, out)};
  gpu::LoraPlanner planner;
  const LoraPlan& plan = planner.plan(products, address_of);
  EXPECT_EQ(plan.tiles.size(), size_t{13 + 4});
  EXPECT_EQ(plan.chains.size(), size_t{13 + 4});
}

TEST(outputs_of_a_fused_matrix_share_what_is_made_of_their_rows) {
  const std::vector<int32_t> rows = {1, 2, 5}, same = rows, others = {1, 2, 6};
  const Matrix first{outputs, 9, 30}, second{outputs + 1, 9, 20};
  gpu::LoraPlanner planner;
  const auto n_tiles = [&](const LoraProduct& a, const LoraProduct& b) {
    const LoraProduct products[] = {a, b};
    return planner.plan(products, address_of).tiles.size();
  };
  const LoraProduct one = product_of(3, rows, 4, first);
  EXPECT_EQ(n_tiles(one, product_of(3, same, 4, second)), size_t{1});
  EXPECT_EQ(n_tiles(one, product_of(3, others, 4, second)), size_t{2});
  EXPECT_EQ(n_tiles(one, product_of(4, same, 4, second)), size_t{2});
  LoraProduct scaled = product_of(3, same, 4, second);
  scaled.scale = 2;
  EXPECT_EQ(n_tiles(one, scaled), size_t{2});
}
