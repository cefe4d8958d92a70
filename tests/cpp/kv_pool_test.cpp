// The block pool and its prefix index against a twin that is slow and obvious, over random
// operations; and the promises that the twin cannot show.
#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "cpp/harness.h"
#include "kv/block_pool.h"

using namespace realm;

namespace {

using Tokens = std::vector<int32_t>;
using Random = std::mt19937;

constexpr int64_t kBlockTokens = 4;

int64_t between(Random& random, int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random);
}

Namespace space_of(int number) {
  Namespace space{};
  space[31] = static_cast<std::byte>(number);
  return space;
}

// Contents: which namespace, and which of a few chains of tokens.
struct Contents {
  int space, chain;
  auto operator<=>(const Contents&) const = default;

  Tokens tokens() const { return Tokens(kBlockTokens, chain); }
  Sha256Digest digest() const { return chain_link(chain_root(space_of(space), {}), tokens()); }
};

// A name that keeps what it refers to.
struct Name {
  explicit Name(Contents contents)
      : space(space_of(contents.space)), tokens(contents.tokens()), chain(contents.digest()) {}
  operator PrefixName() const { return {chain, space, tokens}; }

  Namespace space;
  Tokens tokens;
  Sha256Digest chain;
};

// What a pool is supposed to be, with every rule spelled out.
class Twin {
 public:
  explicit Twin(int64_t n_blocks) : blocks_(static_cast<size_t>(n_blocks)) {}

  struct Block {
    int users = 0;
    std::optional<Contents> name;
    int64_t parked_at = 0;
  };

  Block& at(BlockId block) { return blocks_[static_cast<size_t>(block)]; }
  bool is_parked(const Block& block) const { return block.users == 0 && block.name; }
  int64_t count(auto is) const { return std::ranges::count_if(blocks_, is); }
  int64_t n_used() const {
    return count([](const Block& b) { return b.users > 0; });
  }
  int64_t n_parked() const {
    return count([&](const Block& b) { return is_parked(b); });
  }
  bool has_free() const { return n_used() + n_parked() < static_cast<int64_t>(blocks_.size()); }

  std::optional<BlockId> find(Contents contents) const {
    const auto at =
        std::ranges::find_if(blocks_, [&](const Block& b) { return b.name == contents; });
    if (at == blocks_.end()) return std::nullopt;
    return static_cast<BlockId>(at - blocks_.begin());
  }

  // The parked block that must go for a user of `space`.
  BlockId victim(int space) const {
    std::map<int, int64_t> sizes;
    for (const Block& b : blocks_) {
      if (is_parked(b)) ++sizes[b.name->space];
    }
    int crowded = sizes.begin()->first;
    for (const auto& [one, size] : sizes) {
      if (size >= sizes[crowded]) crowded = one;
    }
    const auto n = static_cast<int64_t>(blocks_.size()),
               n_spaces = static_cast<int64_t>(sizes.size());
    const bool is_above = sizes[crowded] * n_spaces > n;
    const int loser = is_above || !sizes.contains(space) ? crowded : space;
    BlockId oldest = kNoBlock;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const Block& b = blocks_[i];
      if (!is_parked(b) || b.name->space != loser) continue;
      if (oldest == kNoBlock || b.parked_at < blocks_[static_cast<size_t>(oldest)].parked_at) {
        oldest = static_cast<BlockId>(i);
      }
    }
    return oldest;
  }

  void release(BlockId block, int64_t now) {
    if (--at(block).users == 0) at(block).parked_at = now;
  }

 private:
  std::vector<Block> blocks_;
};

class Lockstep {
 public:
  Lockstep(int64_t n_blocks, unsigned seed)
      : random_(seed), pool_(n_blocks, kBlockTokens), twin_(n_blocks) {}

  // One random operation; false once the two differ.
  bool step(int64_t now) {
    switch (between(random_, 0, 13)) {
      case 0:
      case 1:
      case 2:
        return take();
      case 3:
      case 4:
      case 5:
        return release(now);
      case 6:
        return share();
      case 7:
      case 8:
      case 9:
        return publish();
      case 10:
      case 11:
      case 12:
        return adopt();
      default:
        return withdraw();
    }
  }

  bool counts_agree() const {
    return pool_.n_used() == twin_.n_used() && pool_.n_parked() == twin_.n_parked() &&
           pool_.n_available() == pool_.size() - twin_.n_used();
  }
  int64_t n_evicted() const { return n_evicted_; }
  int64_t n_hits() const { return n_hits_; }

 private:
  Contents any_contents() {
    return {static_cast<int>(between(random_, 0, 3)), static_cast<int>(between(random_, 0, 9))};
  }

  bool take() {
    const int space = static_cast<int>(between(random_, 0, 3));
    const bool has_free = twin_.has_free(), has_parked = twin_.n_parked() > 0;
    const BlockId victim = !has_free && has_parked ? twin_.victim(space) : kNoBlock;
    const auto block = pool_.take(space_of(space));
    if (block.has_value() != (has_free || has_parked)) return false;
    if (!block) return true;
    if (has_free && (twin_.at(*block).users > 0 || twin_.at(*block).name)) return false;
    if (!has_free && *block != victim) return false;
    n_evicted_ += !has_free;
    twin_.at(*block) = {.users = 1, .name = {}};
    held_.push_back(*block);
    return true;
  }

  bool release(int64_t now) {
    if (held_.empty()) return true;
    const auto at = held_.begin() + between(random_, 0, static_cast<int64_t>(held_.size()) - 1);
    pool_.release(*at);
    twin_.release(*at, now);
    held_.erase(at);
    return true;
  }

  BlockId any_held() {
    return held_[static_cast<size_t>(between(random_, 0, static_cast<int64_t>(held_.size()) - 1))];
  }

  bool share() {
    if (held_.empty()) return true;
    const BlockId block = any_held();
    pool_.share(block);
    ++twin_.at(block).users;
    held_.push_back(block);
    return pool_.n_users(block) == twin_.at(block).users;
  }

  bool publish() {
    if (held_.empty()) return true;
    const BlockId block = any_held();
    if (twin_.at(block).name) return true;
    const Contents contents = any_contents();
    const bool is_new = !twin_.find(contents);
    if (is_new) twin_.at(block).name = contents;
    return pool_.publish(block, Name(contents)) == is_new;
  }

  bool adopt() {
    const Contents contents = any_contents();
    const auto expected = twin_.find(contents);
    if (pool_.find(Name(contents)) != expected) return false;
    if (!expected) return true;
    ++n_hits_;
    pool_.adopt(*expected);
    ++twin_.at(*expected).users;
    held_.push_back(*expected);
    return true;
  }

  bool withdraw() {
    if (held_.empty()) return true;
    const BlockId block = any_held();
    pool_.withdraw(block);
    twin_.at(block).name.reset();
    return true;
  }

  Random random_;
  BlockPool pool_;
  Twin twin_;
  std::vector<BlockId> held_;  // once for each user
  int64_t n_evicted_ = 0, n_hits_ = 0;
};

// Takes a block, names it and lets it go.
BlockId park(BlockPool& pool, Contents contents) {
  const BlockId block = *pool.take(space_of(contents.space));
  EXPECT(pool.publish(block, Name(contents)));
  pool.release(block);
  return block;
}

}  // namespace

TEST(a_pool_does_what_its_twin_does_in_100000_random_operations) {
  int64_t n_evicted = 0, n_hits = 0;
  for (unsigned seed = 0; seed < 20; ++seed) {
    Lockstep pair(5 + seed, seed);
    for (int64_t now = 0; now < 5000; ++now) {
      if (pair.step(now) && pair.counts_agree()) continue;
      test::report_failure(__FILE__, __LINE__, concat("seed ", seed, ", operation ", now));
      break;
    }
    n_evicted += pair.n_evicted();
    n_hits += pair.n_hits();
  }
  EXPECT(n_evicted > 1000);
  EXPECT(n_hits > 1000);
}

TEST(a_hit_is_verified_against_the_tokens) {
  BlockPool pool(4, kBlockTokens);
  const Contents contents{1, 7};
  park(pool, contents);
  Name forged(contents);
  EXPECT(pool.find(forged).has_value());
  forged.tokens.back() = 8;
  EXPECT(!pool.find(forged));
}

TEST(a_hit_is_verified_against_the_namespace) {
  BlockPool pool(4, kBlockTokens);
  park(pool, {1, 7});
  Name forged({1, 7});
  forged.space = space_of(2);
  EXPECT(!pool.find(forged));
  EXPECT(!pool.find(Name({2, 7})));
}

TEST(what_a_namespace_keeps_within_its_share_survives_anothers_flood) {
  BlockPool pool(20, kBlockTokens);
  for (int chain = 0; chain < 10; ++chain) park(pool, {1, chain});
  for (int chain = 0; chain < 500; ++chain) park(pool, {2, chain});
  for (int chain = 0; chain < 10; ++chain) EXPECT(pool.find(Name({1, chain})).has_value());
  EXPECT_EQ(pool.n_parked(), 20);
}

TEST(cached_blocks_give_way_to_work_even_within_a_share) {
  BlockPool pool(4, kBlockTokens);
  for (int chain = 0; chain < 2; ++chain) park(pool, {1, chain});
  for (int i = 0; i < 4; ++i) EXPECT(pool.take(space_of(2)).has_value());
  EXPECT(!pool.take(space_of(2)));
  EXPECT_EQ(pool.n_parked(), 0);
}

TEST(the_least_recently_used_block_of_a_namespace_goes_first) {
  BlockPool pool(3, kBlockTokens);
  for (int chain = 0; chain < 3; ++chain) park(pool, {1, chain});
  const BlockId oldest = *pool.find(Name({1, 0}));
  pool.adopt(oldest);
  pool.release(oldest);
  pool.take(space_of(1));
  EXPECT(pool.find(Name({1, 0})).has_value());
  EXPECT(!pool.find(Name({1, 1})));
}

TEST(low_numbers_are_used_before_high_ones) {
  BlockPool pool(1'000'000, kBlockTokens);
  for (int round = 0; round < 3; ++round) {
    const BlockId a = *pool.take(space_of(0)), b = *pool.take(space_of(0));
    EXPECT(a < 2 && b < 2);
    pool.release(a);
    pool.release(b);
  }
}

TEST(a_chain_depends_on_everything_that_it_stands_for) {
  const Tokens one{1, 2, 3, 4}, other{1, 2, 3, 5};
  Sha256Digest model{}, adapter{};
  adapter[0] = std::byte{1};
  const Sha256Digest ids[] = {model, adapter}, swapped[] = {adapter, model};
  const Sha256Digest root = chain_root(space_of(1), ids);
  EXPECT(root != chain_root(space_of(2), ids));
  EXPECT(root != chain_root(space_of(1), swapped));
  EXPECT(root != chain_root(space_of(1), std::span(ids).first(1)));
  EXPECT(chain_link(root, one) != chain_link(root, other));
  EXPECT(chain_link(chain_link(root, one), other) != chain_link(chain_link(root, other), one));
}
