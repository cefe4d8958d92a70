// The forward's one promise: a sequence gets the bits it gets alone, whoever shares its steps,
// however it is cut, and wherever its pages lie. Random schedules run several sequences over a pool
// whose bytes are all NaN; the reference is SoloSequence in one piece.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "cpp/harness.h"
#include "model/decoder.h"
#include "model/solo_sequence.h"

using namespace realm;

namespace {

using Floats = std::vector<float>;
using Tokens = std::vector<int32_t>;
using Random = std::mt19937;

constexpr int64_t kMaxRows = 40, kMaxWanted = 24;

// Plain; local and global layers; long and short factors; experts; learned positions.
const char* const kModels[] = {"llama-biases", "gemma3-global-layer", "phi3-longrope",
                               "qwen2moe-ties", "gpt2"};

std::shared_ptr<Model> golden(const std::string& name) {
  const auto file = gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/forward/", name, ".gguf"));
  return Model::load(file, {.n_threads = 2, .load = {}});
}

int64_t between(Random& random, int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random);
}

Tokens random_tokens(Random& random, int64_t n, int64_t n_vocab) {
  Tokens tokens(static_cast<size_t>(n));
  for (int32_t& token : tokens) token = static_cast<int32_t>(between(random, 0, n_vocab - 1));
  return tokens;
}

Floats alone(const std::shared_ptr<Model>& model, const Tokens& tokens, KvType type) {
  const auto n = static_cast<int64_t>(tokens.size());
  Floats logits(static_cast<size_t>(n * model->config().n_vocab));
  SoloSequence(model, {.kv_type = type, .max_tokens = n}).append(tokens, n, logits.data());
  return logits;
}

// A sequence on its way through a ragged schedule.
struct Traveller {
  Tokens tokens, pages;
  Floats expected;  // [T, V]
  int64_t done = 0;

  int64_t left() const { return static_cast<int64_t>(tokens.size()) - done; }
};

// A step under construction, and what its rows are.
struct Schedule {
  Tokens tokens, positions, wanted;
  std::vector<SequenceSpan> spans;
  std::vector<const float*> expected;  // of the wanted rows

  void add(Traveller& sequence, int64_t n, int64_t n_vocab, Random& random) {
    const auto first = static_cast<int32_t>(tokens.size());
    spans.push_back({first, static_cast<int32_t>(n), static_cast<int32_t>(sequence.done),
                     static_cast<int32_t>(sequence.tokens.size()), sequence.pages});
    for (int64_t i = 0; i < n; ++i, ++sequence.done) {
      const bool is_wanted =
          static_cast<int64_t>(wanted.size()) < kMaxWanted && between(random, 0, 1);
      if (is_wanted) {
        wanted.push_back(static_cast<int32_t>(tokens.size()));
        expected.push_back(sequence.expected.data() + sequence.done * n_vocab);
      }
      tokens.push_back(sequence.tokens[static_cast<size_t>(sequence.done)]);
      positions.push_back(static_cast<int32_t>(sequence.done));
    }
  }

  StepBatch step() const { return {tokens, positions, spans, wanted}; }
};

// A random company of the sequences that have something left, each with a chunk of its own.
Schedule random_schedule(std::vector<Traveller>& sequences, int64_t n_vocab, Random& random) {
  Schedule schedule;
  std::vector<Traveller*> company;
  for (Traveller& sequence : sequences) company.push_back(&sequence);
  std::ranges::shuffle(company, random);
  for (Traveller* sequence : company) {
    const int64_t room = kMaxRows - static_cast<int64_t>(schedule.tokens.size());
    const int64_t most = std::min({room, sequence->left(), int64_t{17}});
    if (most > 0 && between(random, 0, 3) > 0) {
      schedule.add(*sequence, between(random, 1, most), n_vocab, random);
    }
  }
  return schedule;
}

// All bytes 255: NaN in f32, f16 and bf16, and in the scales of Q8_0.
void poison(const KvStorage& cache, const Model& model) {
  for (int64_t i = 0; i < model.config().n_layers; ++i) {
    std::memset(cache.layer(i).data, 255,
                cache.bytes() / static_cast<uint64_t>(model.config().n_layers));
  }
}

std::vector<Traveller> random_travellers(const std::shared_ptr<Model>& model, KvType type,
                                         int64_t n_pages, Random& random) {
  Tokens free_pages(static_cast<size_t>(n_pages));
  std::iota(free_pages.begin(), free_pages.end(), 0);
  std::ranges::shuffle(free_pages, random);
  std::vector<Traveller> sequences(4);
  for (Traveller& sequence : sequences) {
    const int64_t most = std::min<int64_t>(60, model->config().n_ctx);
    sequence.tokens = random_tokens(random, between(random, 5, most), model->config().n_vocab);
    sequence.expected = alone(model, sequence.tokens, type);
    for (size_t begin = 0; begin < sequence.tokens.size(); begin += 16) {
      sequence.pages.push_back(free_pages.back());
      free_pages.pop_back();
    }
  }
  return sequences;
}

// Runs random company over a poisoned cache until all have arrived; the number of rows compared,
// or -1 if one had other bits.
int64_t travel(const std::shared_ptr<Model>& model, KvType type, unsigned seed) {
  Random random(seed);
  constexpr int64_t kPages = 20;
  const KvStorage cache(model->backend(), model->config(), type, kPages);
  poison(cache, *model);
  std::vector<Traveller> sequences = random_travellers(model, type, kPages, random);
  Decoder decoder(model->backend(), model->config(), model->weights(), kMaxRows, kMaxWanted);
  const int64_t n_vocab = model->config().n_vocab;
  int64_t compared = 0;
  while (std::ranges::any_of(sequences, [](const Traveller& one) { return one.left() > 0; })) {
    const Schedule schedule = random_schedule(sequences, n_vocab, random);
    if (schedule.tokens.empty()) continue;
    const auto lock = model->lock_backend();
    decoder.run(schedule.step(), cache);
    for (size_t i = 0; i < schedule.wanted.size(); ++i, ++compared) {
      const float* row = decoder.logits().data + static_cast<int64_t>(i) * n_vocab;
      const auto bytes = static_cast<size_t>(n_vocab) * sizeof(float);
      if (std::memcmp(row, schedule.expected[i], bytes) != 0) return -1;
    }
  }
  return compared;
}

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST(a_sequence_in_random_company_has_the_bits_it_has_alone) {
  for (const char* name : kModels) {
    const auto model = golden(name);
    for (unsigned seed = 0; seed < 12; ++seed) {
      const int64_t compared = travel(model, KvType::kF32, seed);
      if (compared < 1) test::report_failure(__FILE__, __LINE__, concat(name, ", seed ", seed));
    }
  }
}

TEST(caches_of_every_type_keep_that_promise) {
  const auto model = golden("gemma3-global-layer");
  for (const KvType type : {KvType::kF16, KvType::kBF16, KvType::kQ8_0}) {
    for (unsigned seed = 0; seed < 6; ++seed) EXPECT(travel(model, type, seed) >= 1);
  }
}

TEST(what_a_sequence_forgets_leaves_no_trace) {
  const auto model = golden("gemma3-global-layer");
  Random random(1);
  const Tokens kept = random_tokens(random, 21, 96), dropped = random_tokens(random, 15, 96);
  const Tokens more = random_tokens(random, 19, 96);
  Tokens whole = kept;
  whole.insert(whole.end(), more.begin(), more.end());
  SoloSequence sequence(model, {.max_tokens = 40});
  Floats logits(19 * 96), ignored(96);
  sequence.append(kept, 0, nullptr);
  sequence.append(dropped, 1, ignored.data());
  sequence.truncate(21);
  sequence.append(more, 19, logits.data());
  const Floats expected = alone(model, whole, KvType::kF32);
  EXPECT(same_bits(logits, Floats(expected.end() - 19 * 96, expected.end())));
}

TEST(a_cancelled_sequence_keeps_its_length_and_goes_on) {
  const auto model = golden("llama-biases");
  Random random(2);
  const Tokens tokens = random_tokens(random, 40, 96);
  SoloSequence sequence(model, {.max_tokens = 40, .chunk_rows = 8});
  Floats logits(40 * 96);
  sequence.append(std::span(tokens).first(10), 10, logits.data());
  const std::atomic<bool> raised{true};
  EXPECT_ERROR(kCancelled, {
    sequence.append(std::span(tokens).subspan(10), 30, logits.data() + 10 * 96, &raised);
  });
  EXPECT_EQ(sequence.length(), 10);
  sequence.append(std::span(tokens).subspan(10), 30, logits.data() + 10 * 96);
  EXPECT(same_bits(logits, alone(model, tokens, KvType::kF32)));
}

TEST(few_logits_at_a_time_are_the_same_logits) {
  const auto model = golden("phi3-longrope");
  Random random(3);
  const Tokens tokens = random_tokens(random, 40, 96);
  const Floats expected = alone(model, tokens, KvType::kF32);
  for (const int64_t max_wanted : {1, 7, 40}) {
    Floats logits(40 * 96);
    SoloSequence(model, {.max_tokens = 40, .chunk_rows = 16, .max_wanted = max_wanted})
        .append(tokens, 40, logits.data());
    EXPECT(same_bits(logits, expected));
  }
}

TEST(a_sequence_refuses_what_it_cannot_hold) {
  const auto model = golden("llama-biases");
  EXPECT_ERROR(kInvalidRequest, { SoloSequence(model, {.max_tokens = 0}); });
  EXPECT_ERROR(kInvalidRequest, { SoloSequence(model, {.max_tokens = 129}); });
  SoloSequence sequence(model, {.max_tokens = 4});
  const Tokens five(5, 3), four(4, 3), none, unknown{3, 96};
  EXPECT_ERROR(kInvalidRequest, { sequence.append(five, 0, nullptr); });
  EXPECT_ERROR(kInvalidRequest, { sequence.append(none, 0, nullptr); });
  EXPECT_ERROR(kInvalidRequest, { sequence.append(unknown, 0, nullptr); });
  EXPECT_ERROR(kInvalidRequest, { sequence.append(four, 5, nullptr); });
  EXPECT_ERROR(kInvalidRequest, { sequence.truncate(1); });
  EXPECT_EQ(sequence.length(), 0);
  sequence.append(four, 0, nullptr);
  const std::string full = EXPECT_ERROR(kInvalidRequest, { sequence.append(four, 0, nullptr); });
  EXPECT(test::contains(full, "made for 4"));
}

TEST(a_step_above_what_a_decoder_was_made_for_is_our_own_fault) {
  const auto model = golden("llama-biases");
  const KvStorage cache(model->backend(), model->config(), KvType::kF32, 1);
  Decoder decoder(model->backend(), model->config(), model->weights(), 2, 1);
  const Tokens tokens(3, 3), positions{0, 1, 2}, pages{0};
  const SequenceSpan span{0, 3, 0, 3, pages};
  EXPECT_ERROR(kInternal, { decoder.run({tokens, positions, {&span, 1}, {}}, cache); });
}
