// Block tables and whole sequences against twins that keep the contents of every position, so that
// sharing, copying, dropping and reuse show as wrong contents if they are wrong.
#include <algorithm>
#include <iterator>
#include <list>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "cpp/harness.h"
#include "kv/kv_space.h"

using namespace realm;

namespace {

using Tokens = std::vector<int32_t>;
using Random = std::mt19937;

constexpr int64_t kBlockTokens = 4;

int64_t between(Random& random, int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random);
}

// Tables over memory that is only numbers: each position of each block holds what was written.
class Memory {
 public:
  void write(BlockId block, int64_t pos, uint32_t value) {
    cells_[{block, pos % kBlockTokens}] = value;
  }
  std::optional<uint32_t> read(BlockId block, int64_t pos) const {
    const auto at = cells_.find({block, pos % kBlockTokens});
    if (at == cells_.end()) return std::nullopt;
    return at->second;
  }
  void copy(BlockId from, BlockId to) {
    for (int64_t i = 0; i < kBlockTokens; ++i) {
      if (const auto value = read(from, i)) write(to, i, *value);
    }
  }

 private:
  std::map<std::pair<BlockId, int64_t>, uint32_t> cells_;
};

struct TwinTable {
  BlockTable table;
  std::vector<uint32_t> contents;

  BlockId block(int64_t pos) const {
    return table.blocks()[static_cast<size_t>(pos / kBlockTokens)];
  }
};

// Appends a position, copying a shared block first; false if the pool is out of blocks.
bool append(TwinTable& one, Memory& memory, uint32_t value) {
  const auto pos = static_cast<int64_t>(one.contents.size());
  if (!one.table.grow(pos + 1)) return false;
  BlockTable::Copy copy;
  if (!one.table.make_writable(pos, copy)) return false;
  if (copy.from != copy.to) memory.copy(copy.from, copy.to);
  memory.write(one.block(pos), pos, value);
  one.contents.push_back(value);
  return true;
}

bool reads_right(const TwinTable& one, const Memory& memory) {
  for (size_t i = 0; i < one.contents.size(); ++i) {
    const auto pos = static_cast<int64_t>(i);
    if (memory.read(one.block(pos), pos) != one.contents[i]) return false;
  }
  return true;
}

// A sequence over a cache, and what it would compute: the contents of a position are a function of
// all tokens up to it, as keys and values are.
struct Runner {
  KvSequence kv;
  Tokens tokens;
  int64_t n_computed = 0;
};

class Cache {
 public:
  explicit Cache(const KvSpaceShape& shape) : shape_(shape), space_(shape) {}

  KvSpace& space() { return space_; }

  Runner start(int tenant, Tokens tokens) {
    Namespace name{};
    name[0] = static_cast<std::byte>(tenant);
    Runner runner{KvSequence(space_, name, chain_root(name, {})), std::move(tokens)};
    runner.n_computed = runner.kv.adopt_prefix(runner.tokens);
    return runner;
  }

  // Computes up to n rows; false if there are no blocks.
  bool advance(Runner& runner, int64_t n) {
    const auto end = std::min<int64_t>(runner.n_computed + n, std::ssize(runner.tokens));
    if (!runner.kv.reserve(runner.n_computed, end)) return false;
    uint32_t chain = 0;
    for (int64_t pos = 0; pos < end; ++pos) {
      chain = chain * 31 + static_cast<uint32_t>(runner.tokens[static_cast<size_t>(pos)]) + 1;
      if (pos < runner.n_computed) continue;
      if (shape_.has_global) global_.write(block(runner.kv.global_blocks(), pos), pos, chain);
      if (shape_.window > 0) window_.write(block(runner.kv.window_blocks(), pos), pos, chain);
    }
    runner.n_computed = end;
    runner.kv.publish(runner.tokens, end);
    return true;
  }

  // Whether everything that the next row sees is what this sequence computed.
  bool sees_right(const Runner& runner) const {
    const int64_t first_seen = std::max<int64_t>(0, runner.n_computed - shape_.window + 1);
    uint32_t chain = 0;
    for (int64_t pos = 0; pos < runner.n_computed; ++pos) {
      chain = chain * 31 + static_cast<uint32_t>(runner.tokens[static_cast<size_t>(pos)]) + 1;
      const auto holds = [&](const Memory& memory, std::span<const BlockId> blocks) {
        const BlockId id = block(blocks, pos);
        return id != kNoBlock && memory.read(id, pos) == chain;
      };
      if (shape_.has_global && !holds(global_, runner.kv.global_blocks())) return false;
      if (shape_.window == 0 || pos < first_seen) continue;
      if (!holds(window_, runner.kv.window_blocks())) return false;
    }
    return true;
  }

 private:
  static BlockId block(std::span<const BlockId> blocks, int64_t pos) {
    return blocks[static_cast<size_t>(pos / kBlockTokens)];
  }

  const KvSpaceShape shape_;
  KvSpace space_;
  Memory global_, window_;
};

Tokens random_tokens(Random& random, int64_t n) {
  Tokens tokens;
  // Few beginnings, so that many are shared.
  for (int64_t i = 0; i < n; ++i) {
    tokens.push_back(static_cast<int32_t>(between(random, 0, i % kBlockTokens == 0 ? 1 : 0)));
  }
  return tokens;
}

// Random sequences come, grow, roll back and go; the tokens that the cache saved them.
int64_t churn(const KvSpaceShape& shape, unsigned seed) {
  Random random(seed);
  Cache cache(shape);
  std::list<Runner> runners;
  int64_t n_saved = 0;
  for (int i = 0; i < 600; ++i) {
    if (runners.size() < 5 && between(random, 0, 2) == 0) {
      runners.push_back(cache.start(static_cast<int>(between(random, 0, 1)),
                                    random_tokens(random, between(random, 1, 40))));
      n_saved += runners.back().n_computed;
      if (!cache.sees_right(runners.back())) return -1;
    }
    if (runners.empty()) continue;
    const auto at = std::next(runners.begin(), between(random, 0, std::ssize(runners) - 1));
    const bool is_done = at->n_computed == std::ssize(at->tokens);
    if (is_done || !cache.advance(*at, between(random, 1, shape.max_chunk))) {
      runners.erase(at);
      continue;
    }
    if (!cache.sees_right(*at)) return -1;
  }
  runners.clear();
  return cache.space().n_used() == 0 ? n_saved : -1;
}

}  // namespace

TEST(forks_share_until_they_write) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    Random random(seed);
    BlockPool pool(24, kBlockTokens);
    Memory memory;
    std::vector<TwinTable> tables;
    for (uint32_t i = 0; i < 500; ++i) {
      if (tables.empty()) tables.push_back({BlockTable(pool, {}), {}});
      const auto which = static_cast<size_t>(between(random, 0, std::ssize(tables) - 1));
      switch (between(random, 0, 9)) {
        case 0:
          if (tables.size() < 6)
            tables.push_back({tables[which].table.fork(), tables[which].contents});
          break;
        case 1: {
          const auto n = between(random, 0, std::ssize(tables[which].contents));
          tables[which].table.truncate(n);
          tables[which].contents.resize(static_cast<size_t>(n));
          break;
        }
        default:
          if (!append(tables[which], memory, i)) {
            tables[which].table.truncate(0);
            tables[which].contents.clear();
          }
      }
      for (const TwinTable& one : tables) EXPECT(reads_right(one, memory));
    }
    tables.clear();
    EXPECT_EQ(pool.n_used(), 0);
  }
}

TEST(growing_is_all_or_nothing) {
  BlockPool pool(3, kBlockTokens);
  BlockTable one(pool, {}), other(pool, {});
  EXPECT(one.grow(2 * kBlockTokens));
  EXPECT(!other.grow(2 * kBlockTokens));
  EXPECT(other.blocks().empty());
  EXPECT(other.grow(kBlockTokens));
  EXPECT_EQ(pool.n_available(), 0);
}

TEST(a_copy_that_finds_no_block_is_refused) {
  BlockPool pool(1, kBlockTokens);
  BlockTable one(pool, {});
  EXPECT(one.grow(2));
  BlockTable twin = one.fork();
  BlockTable::Copy copy;
  EXPECT(!twin.make_writable(2, copy));
  one.truncate(0);
  EXPECT(twin.make_writable(2, copy));
  EXPECT_EQ(copy.from, copy.to);
}

TEST(a_window_gives_back_what_it_has_left_behind) {
  BlockPool pool(10, kBlockTokens);
  BlockTable table(pool, {});
  EXPECT(table.grow(20));
  table.drop_before(11);
  EXPECT_EQ(pool.n_used(), 3);
  EXPECT_EQ(table.blocks()[1], kNoBlock);
  EXPECT(table.blocks()[2] != kNoBlock);
  table.drop_before(11);
  table.truncate(9);
  EXPECT_EQ(pool.n_used(), 1);
  table.truncate(0);
  EXPECT_EQ(pool.n_used(), 0);
}

TEST(reused_beginnings_hold_what_the_sequence_would_have_computed) {
  const auto shape = [](bool has_global, int64_t window, int64_t n_global, int64_t n_window) {
    return KvSpaceShape{.block_tokens = kBlockTokens,
                        .has_global = has_global,
                        .window = window,
                        .n_global_blocks = n_global,
                        .n_window_blocks = n_window,
                        .max_chunk = 7};
  };
  for (unsigned seed = 0; seed < 25; ++seed) {
    EXPECT(churn(shape(true, 0, 30, 0), seed) > 0);
    EXPECT(churn(shape(true, 6, 30, 20), seed) > 0);
    EXPECT(churn(shape(false, 6, 0, 20), seed) > 0);
    EXPECT(churn(shape(true, 9, 12, 40), seed) > 0);
  }
}

TEST(a_cache_that_keeps_no_prefixes_reuses_nothing) {
  EXPECT_EQ(churn({.block_tokens = kBlockTokens,
                   .n_global_blocks = 30,
                   .max_chunk = 7,
                   .keep_prefixes = false},
                  1),
            0);
}

TEST(at_least_one_token_is_left_to_compute) {
  Cache cache({.block_tokens = kBlockTokens, .n_global_blocks = 8, .max_chunk = 16});
  const Tokens tokens(2 * kBlockTokens, 1);
  Runner first = cache.start(0, tokens);
  EXPECT(cache.advance(first, 8));
  first.kv.clear();
  EXPECT_EQ(cache.start(0, tokens).n_computed, kBlockTokens);
  Tokens longer = tokens;
  longer.push_back(1);
  EXPECT_EQ(cache.start(0, longer).n_computed, 2 * kBlockTokens);
  EXPECT_EQ(cache.start(1, longer).n_computed, 0);
}

TEST(a_space_knows_what_could_ever_fit) {
  const KvSpace space({.block_tokens = 4,
                       .has_global = true,
                       .window = 6,
                       .n_global_blocks = 10,
                       .n_window_blocks = 5,
                       .max_chunk = 8});
  EXPECT(space.can_hold(40));
  EXPECT(!space.can_hold(41));
  EXPECT_EQ(space.window_blocks_for(400), 5);
  EXPECT_EQ(space.window_blocks_for(9), 3);
  EXPECT(space.has_room_for(36, 0));
  EXPECT(!space.has_room_for(36, 1));
}
