// Steps of decoders as graphs: the same bits as steps whose ops are issued, and which steps share a
// graph. On the emulated device, and on a card in a build for one.
#include "cpp/cuda_steps.h"
#include "cpp/gpu_device.h"
#include "cuda/step_graphs.h"

using namespace realm;
using namespace realm::test;

namespace {

// Mostly answers that go on by a token, some with guesses to verify, sometimes a prompt.
std::vector<Part> random_parts(std::mt19937& random, const Travel& travel) {
  std::vector<Part> parts;
  for (size_t s = 0; s < 3; ++s) {
    const int32_t n = random() % 16 == 0 ? 3 : random() % 24 == 0 ? 19 : 1;
    if (random() % 4 > 0 && travel.done(s) + n <= travel.capacity()) parts.push_back({s, n});
  }
  std::ranges::shuffle(parts, random);
  return parts;
}

}  // namespace

TEST(replayed_steps_have_the_bits_of_issued_ones_in_random_schedules) {
  struct Case {
    const char* model;
    KvType type;
    bool deterministic;
  };
  std::vector<Case> cases = {{"forward/gemma2-window", KvType::kF16, true},
                             {"forward/gpt2", KvType::kF32, false},
                             {"forward/qwen2moe-ties", KvType::kQ8_0, false}};
  if (extended()) {
    cases.push_back({"forward/gemma2-window", KvType::kBF16, false});
    cases.push_back({"forward/type-MXFP4", KvType::kF16, false});
  }
  for (const Case& one : cases) {
    Loaded model(one.model, one.deterministic);
    Twins twins(model, one.type);
    twins.ours.page_lists_vary = twins.theirs.page_lists_vary = true;
    std::mt19937 random(17);
    for (int i = 0; i < (extended() ? 90 : 30); ++i) {
      const std::vector<Part> parts = random_parts(random, twins.ours);
      if (!parts.empty()) twins.step(parts, one.model);
    }
    EXPECT(model.count("steps replayed") > model.count("steps issued"));
    EXPECT(model.count("steps replayed") > model.count("steps captured") + 5);
    EXPECT_EQ(model.count("captures failed"), 0u);
  }
}

TEST(steps_of_as_many_rows_differ_by_their_tiles) {
  Loaded model("forward/llama-biases");
  Twins twins(model);
  twins.ours.most_wanted = twins.theirs.most_wanted = 2;
  std::vector<Part> many;
  for (size_t s = 2; s < kSequences; ++s) many.push_back({s, 1});
  const std::vector<Part> two = {{0, 9}, {1, 9}};
  for (int i = 0; i < 4; ++i) {
    twins.ours.page_lists_vary = twins.theirs.page_lists_vary = false;
    twins.step(many, "of many sequences");
    twins.ours.page_lists_vary = twins.theirs.page_lists_vary = true;  // as many pages in all
    twins.step(two, "of two sequences");
  }
  EXPECT_EQ(model.count("steps captured"), 2u);
  EXPECT_EQ(model.count("steps replayed"), 6u);
}

TEST(a_step_of_a_known_shape_is_never_captured_again_whoever_is_in_it_and_however_long) {
  Loaded model("forward/gemma2-window");
  Twins twins(model);
  twins.ours.page_lists_grow = twins.theirs.page_lists_grow = true;
  std::mt19937 random(3);
  for (size_t s = 0; s < kSequences; ++s)
    twins.step({{s, 1 + static_cast<int32_t>(random() % 60)}}, "of a prompt");
  std::vector<size_t> order(kSequences);
  std::iota(order.begin(), order.end(), size_t{0});
  const auto step = [&] {
    std::ranges::shuffle(order, random);
    twins.step({{order[0], 1}, {order[1], 1}, {order[2], 1}, {order[3], 1}}, "of any four");
  };
  for (int i = 0; i < 2; ++i) step();
  const uint64_t captured = model.count("steps captured"), issued = model.count("steps issued");
  for (int i = 0; i < 40; ++i) step();
  EXPECT_EQ(model.count("steps captured"), captured);
  EXPECT_EQ(model.count("steps issued"), issued);
  EXPECT_EQ(model.count("graphs dropped"), 0u);
}

TEST(working_memory_that_moves_takes_its_graphs_along) {
  Loaded model("forward/type-MXFP4");
  Twins twins(model);
  for (int i = 0; i < 4; ++i) twins.step({{0, 1}});
  EXPECT_EQ(model.count("steps captured"), 1u);
  twins.step({{1, 70}});  // more rows than ever
  EXPECT_EQ(model.count("graphs dropped"), 0u);
  for (int i = 0; i < 3; ++i) twins.step({{0, 1}}, "after the move");
  EXPECT_EQ(model.count("graphs dropped"), 1u);
  EXPECT_EQ(model.count("steps captured"), 2u);
}

TEST(another_cache_is_another_form) {
  Loaded model("forward/llama-biases");
  Twins twins(model);
  for (int i = 0; i < 12; ++i) {
    twins.ours.in_other_cache = twins.theirs.in_other_cache = i % 2 == 1;
    twins.step({{0, 1}});
    if (i % 2 == 0) {  // the same token goes into both caches
      twins.ours.forget_last(0, 1);
      twins.theirs.forget_last(0, 1);
    }
  }
  EXPECT_EQ(model.count("steps captured"), 2u);
  EXPECT_EQ(model.count("steps replayed"), 10u);
}

TEST(members_with_adapters_change_places_and_come_and_go_in_a_step_of_a_known_shape) {
  Adapted model("arch/qwen3/model-f32");
  const auto load = [&](const char* name, const char* files, float scale) {
    return model.load(name, concat("arch/qwen3/adapters/", files), scale);
  };
  auto one = load("one", "all-linear", 0.5f), other = load("other", "all-linear", -0.7f);
  const auto dora = load("dora", "dora", 1.0f);
  Twins twins(*model);
  std::vector<size_t> order = {0, 1, 2};
  const auto run_all_orders = [&](const AdapterSet* first, const AdapterSet* second,
                                  const char* what) {
    std::vector<const AdapterSet*> sets = {first, second, nullptr};
    std::ranges::sort(sets);
    do {
      twins.adapt(sets);
      std::ranges::next_permutation(order);
      twins.step({{order[0], 1}, {order[1], 1}, {order[2], 1}}, what);
    } while (std::ranges::next_permutation(sets).found);
  };
  run_all_orders(one.get(), other.get(), "with two adapters");
  run_all_orders(one.get(), dora.get(), "with another one");
  other.reset();
  model->adapters().unload("other");
  run_all_orders(one.get(), dora.get(), "after one was unloaded");
  other = load("other", "all-linear", 0.3f);  // where the one before was, or elsewhere
  run_all_orders(other.get(), dora.get(), "with one that was loaded anew");
  one.reset();
  one = load("one", "all-linear", 0.9f);  // which ends the one that had the name
  run_all_orders(other.get(), one.get(), "with one that replaced another");
  EXPECT_EQ(model.count("steps issued"), 1u);
  EXPECT_EQ(model.count("steps captured"), 1u);
  EXPECT_EQ(model.count("steps replayed"), 29u);
  EXPECT_EQ(model.count("captures failed"), 0u);
}

TEST(steps_with_adapters_have_the_bits_of_issued_ones_in_random_company) {
  struct Case {
    const char* model;
    std::vector<const char*> adapters;
  };
  const Case cases[] = {
      {"arch/qwen3/model-f32",
       {"arch/qwen3/adapters/all-linear", "arch/qwen3/adapters/dora", "arch/qwen3/adapters/pattern",
        "arch/qwen3/adapters/rslora-qv", "arch/qwen3/adapters/embed-head"}},
      {"forward/mixtral-8-experts", {"lora/mixtral-experts", "lora/mixtral-experts"}},
      {"forward/gpt2", {"lora/gpt2-all", "lora/gpt2-saved"}}};
  for (const Case& one : cases) {
    Adapted model(one.model);
    std::vector<std::shared_ptr<const AdapterSet>> sets = {nullptr};
    const auto name_of = [](size_t i) { return concat("adapter ", i); };
    for (size_t i = 0; i < one.adapters.size(); ++i)
      sets.push_back(model.load(name_of(i), one.adapters[i], 1.0f));
    sets.push_back(model->adapters().set_of({{name_of(0), 0.3f}, {name_of(1), 1.0f}}));
    Twins twins(*model);
    std::mt19937 random(5);
    for (int i = 0; i < (extended() ? 200 : 40); ++i) {
      std::vector<const AdapterSet*> worn(3);
      for (const AdapterSet*& set : worn) set = sets[random() % sets.size()].get();
      twins.adapt(worn);
      const std::vector<Part> parts = random_parts(random, twins.ours);
      if (!parts.empty()) twins.step(parts, one.model);
    }
    EXPECT(model.count("steps replayed") > 7);
    EXPECT_EQ(model.count("captures failed"), 0u);
  }
}

// How many adapters of experts there are decides into how many parts choices are ordered: 4,
// then 8.
TEST(steps_with_as_many_adapters_of_experts_when_rounded_are_one_form_and_others_are_not) {
  Adapted model("forward/mixtral-8-experts");
  std::vector<std::shared_ptr<const AdapterSet>> sets;
  for (int i = 0; i < 7; ++i)
    sets.push_back(model.load(concat("adapter ", i), "lora/mixtral-experts",
                              0.2f + 0.2f * static_cast<float>(i)));
  Twins twins(*model);
  std::vector<Part> parts;
  for (size_t s = 0; s < 8; ++s) parts.push_back({s, 1});
  const auto run = [&](size_t n_adapters) {
    std::vector<const AdapterSet*> worn(parts.size());
    for (size_t i = 0; i < n_adapters; ++i) worn[i] = sets[i].get();
    twins.adapt(worn);
    for (int i = 0; i < 2; ++i) twins.step(parts, "with adapters of experts");
    return model.count("steps captured");
  };
  EXPECT_EQ(run(4), 1u);
  EXPECT_EQ(run(3), 2u);  // as many tables, rounded, but half the parts
  EXPECT_EQ(run(5), 3u);
  EXPECT_EQ(run(7), 3u);
  EXPECT_EQ(run(4), 3u);
  EXPECT_EQ(model.count("graphs dropped"), 0u);
  EXPECT_EQ(model.count("captures failed"), 0u);
}

TEST(adapters_that_replace_weights_are_one_form_on_the_same_rows_alone) {
  Adapted model("forward/gpt2");
  auto saved = model.load("saved", "lora/gpt2-saved", 1.0f);
  const auto all = model.load("all", "lora/gpt2-all", 0.5f);
  Twins twins(*model);
  const auto run = [&](const AdapterSet* first, const AdapterSet* second, const char* what) {
    twins.adapt({first, second});
    for (int i = 0; i < 3; ++i) twins.step({{0, 1}, {1, 1}}, what);
  };
  run(saved.get(), nullptr, "that replaces weights");
  run(nullptr, saved.get(), "that replaces weights of the other row");
  run(saved.get(), all.get(), "that replaces weights beside another");
  saved.reset();
  model->adapters().unload("saved");
  saved = model.load("saved", "lora/gpt2-saved", 1.0f);
  run(saved.get(), nullptr, "that was loaded anew");
  EXPECT_EQ(model.count("steps captured"), 4u);
  EXPECT_EQ(model.count("captures failed"), 0u);
}

TEST(steps_whose_arrays_overlap_are_issued) {
  Loaded model("forward/llama-biases");
  const KvStorage cache(*model.backend, model.config, KvType::kF16, kPages);
  Decoder decoder(*model.backend, model.config, model.weights, 4, 4);
  const Tokens tokens{0}, page{2};
  const SequenceSpan span{0, 1, 0, 100, page};
  for (int i = 0; i < 3; ++i) decoder.run({tokens, tokens, {&span, 1}, tokens}, cache);
  EXPECT_EQ(model.count("steps issued"), 3u);
  EXPECT_EQ(model.count("steps captured"), 0u);
}

namespace {

// A recorder over ops of its own: rows of a table, by tokens.
struct Lookup {
  GpuDevice device{make_cuda_backend(0, false)};
  std::unique_ptr<StepRecorder> recorder = device.backend->make_step_recorder();
  const Floats values = normal_values(50 * 32, 3);
  const std::unique_ptr<Weight> table =
      device.backend->load_weight({DType::kF32, 50, 32, std::as_bytes(std::span(values)), nullptr});
  const Matrix out = device.poisoned(64, 32);

  // Whether the rows are right.
  bool run(const Tokens& tokens) {
    const StepBatch step{tokens, {}, {}, {}};
    const Matrix rows = out.first_rows(std::ssize(tokens));
    recorder->run(step, {}, {}, [&] { device.backend->embed(*table, tokens, 1.0f, rows); });
    const Floats got = device.read(rows);
    for (size_t i = 0; i < got.size(); ++i)
      if (got[i] != values[static_cast<size_t>(tokens[i / 32]) * 32 + i % 32]) return false;
    return true;
  }
  uint64_t count(const std::string& path) const { return count_of(*device.backend, path); }
};

}  // namespace

TEST(graphs_are_bounded_and_the_one_used_longest_ago_goes) {
  Lookup lookup;
  const auto run = [&](size_t n_rows, int32_t token) { EXPECT(lookup.run(Tokens(n_rows, token))); };
  constexpr size_t kMost = cuda::StepGraphs::kMaxGraphs;
  run(64, 0);  // so that no memory moves later
  for (size_t n = 1; n <= kMost; ++n) {
    for (int32_t i = 0; i < 3; ++i) run(n, i);
  }
  EXPECT_EQ(lookup.count("steps captured"), kMost);
  EXPECT_EQ(lookup.count("graphs dropped"), 0u);
  run(1, 7);  // so 2 is the oldest
  for (int32_t i = 0; i < 3; ++i) run(kMost + 1, i);
  EXPECT_EQ(lookup.count("graphs dropped"), 1u);
  const uint64_t replayed = lookup.count("steps replayed");
  run(1, 9);
  EXPECT_EQ(lookup.count("steps replayed"), replayed + 1);
  run(2, 9);  // forgotten: issued as if it were new
  EXPECT_EQ(lookup.count("steps replayed"), replayed + 1);
  EXPECT_EQ(lookup.count("steps captured"), kMost + 1);
}

TEST(ops_that_read_words_of_elsewhere_are_not_captured) {
  Lookup lookup;
  const Tokens tokens{1, 2, 3}, others{4, 5, 6};
  const StepBatch step{tokens, {}, {}, {}};
  for (int i = 0; i < 4; ++i) {
    lookup.recorder->run(step, {}, {}, [&] {
      lookup.device.backend->embed(*lookup.table, others, 1.0f, lookup.out.first_rows(3));
    });
    EXPECT_EQ(lookup.device.read(lookup.out.first_rows(3))[0], lookup.values[4 * 32]);
  }
  EXPECT_EQ(lookup.count("captures failed"), 1u);
  EXPECT_EQ(lookup.count("steps issued"), 4u);
}

TEST(a_step_that_is_cancelled_before_its_last_op_leaves_no_graph_without_it) {
  Lookup lookup;
  Backend& backend = *lookup.device.backend;
  const Tokens tokens{3};
  const Matrix in = lookup.out.first_rows(1), out = lookup.device.poisoned(1, 50);
  const Product product{*lookup.table, {}, out};
  std::atomic<bool> cancelled = false;
  const CancelWatch watch(backend, &cancelled);
  const auto run = [&](bool is_cancelled) {
    lookup.recorder->run({tokens, {}, {}, {}}, {}, {}, [&] {
      backend.embed(*lookup.table, tokens, 1.0f, in);
      cancelled = is_cancelled;
      backend.linear({&product, 1}, in);
    });
    return lookup.device.read(out);
  };
  const Floats expected = run(false), zeros(50);
  EXPECT_ERROR(kCancelled, { run(true); });  // while it is captured
  cancelled = false;
  for (int i = 0; i < 3; ++i) {
    backend.upload(zeros.data(), out.data, 50 * sizeof(float));
    EXPECT(same_bits(run(false), expected));
  }
  EXPECT_EQ(lookup.count("steps captured"), 1u);
  EXPECT_EQ(lookup.count("captures failed"), 0u);
}
