// What a device tells of its logits instead of all of them, on the device: lists against
// std::sort, and an engine's answers against those of an engine that reads whole rows.
#include <algorithm>
#include <cmath>
#include <random>

#include "backend/registry.h"
#include "cpp/engine_world.h"
#include "cpp/first_logits.h"
#include "cpp/gpu_device.h"
#include "cpp/harness.h"

using namespace realm;
using test::equal;
using test::first_of;
using test::Floats;
using test::List;

namespace {

// Values as spread as logits, with many ties, or near each other in their last bits.
Floats random_rows(std::mt19937& random, int64_t n) {
  Floats rows = test::normal_values(n, random());
  const int kind = static_cast<int>(random() % 4);
  for (float& x : rows) {
    if (kind == 0) x *= 8;
    if (kind == 1) x = std::round(x);  // holds 0 and -0
    if (kind == 2) x = -5.0f;
    if (kind == 3) x = 3.0f + std::round(x) * 0x1p-21f;
  }
  return rows;
}

std::shared_ptr<Model> load(const std::string& name) {
  const auto file = gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/", name, ".gguf"));
  return Model::load(file, {.device = "cuda", .n_threads = 1});
}

uint64_t rows_listed(Model& model) {
  for (const auto& [name, n] : model.backend().path_counts())
    if (name == "rows listed") return n;
  fail(ErrorCode::kInternal, "nobody counts the rows that were listed");
}

}  // namespace

TEST(lists_are_the_first_logits_with_ties_to_the_lower_token) {
  test::GpuDevice device(make_cuda_backend(0, false));
  std::mt19937 random(2);
  for (const int64_t n_cols : {1, 2, 33, 255, 600, 5003}) {
    for (const int64_t wanted : {1, 2, 40, 255, 256}) {
      const int64_t width = std::min(wanted, n_cols);
      Floats rows;
      for (int i = 0; i < 3; ++i)
        std::ranges::copy(random_rows(random, n_cols), std::back_inserter(rows));
      List lists(static_cast<size_t>(3 * (1 + width)), TopLogit{0, -7});
      device.backend->shortlist(device.matrix(3, rows), width, lists.data());
      for (size_t r = 0; r < 3; ++r) {
        const auto list = std::span(lists).subspan(r * static_cast<size_t>(1 + width));
        const auto row =
            std::span(rows).subspan(r * static_cast<size_t>(n_cols), static_cast<size_t>(n_cols));
        EXPECT_EQ(list[0].token, width);
        const auto n = static_cast<size_t>(width);
        if (!equal(list.subspan(1, n), first_of(row, n)))
          test::report_failure(__FILE__, __LINE__, concat(width, " of ", n_cols));
      }
    }
  }
}

TEST(rows_that_are_not_finite_have_no_list_and_their_neighbours_do) {
  test::GpuDevice device(make_cuda_backend(0, false));
  for (const float odd : {NAN, -NAN, HUGE_VALF, -HUGE_VALF}) {
    Floats rows = test::normal_values(3 * 700, 4);
    rows[700 + 699] = odd;
    for (const int64_t width : {1, 9}) {
      List lists(static_cast<size_t>(3 * (1 + width)));
      device.backend->shortlist(device.matrix(3, rows), width, lists.data());
      for (int64_t r = 0; r < 3; ++r)
        EXPECT_EQ(lists[static_cast<size_t>(r * (1 + width))].token, r == 1 ? 0 : width);
    }
  }
}

TEST(lists_longer_than_a_row_or_than_the_backend_has_are_refused) {
  test::GpuDevice device(make_cuda_backend(0, false));
  const Matrix row = device.matrix(1, Floats(300, 1.0f));
  List list(400);
  for (const int64_t width : {0, 257, 301})
    EXPECT_ERROR(kInternal, { device.backend->shortlist(row, width, list.data()); });
  EXPECT_EQ(make_backend("cpu", 1)->max_shortlist(), 0);
}

TEST(an_engine_draws_from_lists_what_it_draws_from_whole_rows) {
  const auto model = load("forward/llama-biases");
  const auto run = [&](StepHook hook) {
    Engine engine(model, {.max_sequences = 6, .max_step_tokens = 24}, std::move(hook));
    std::vector<std::shared_ptr<Request>> requests;
    test::Random random(4);
    for (uint64_t i = 0; i < 8; ++i) {
      RequestOptions options;
      options.prompt = test::random_tokens(random, 3, model->config().n_vocab);
      options.params.max_tokens = 7;
      options.params.ignore_eos = true;
      options.params.seed = i;
      options.params.top_k = 6;
      if (i % 4 == 0) options.params.temperature = 0;
      if (i == 1) options.params.presence_penalty = 1;
      if (i == 2) options.params.top_k = 0;
      if (i == 3) options.params.logprobs = 2;
      if (i > 5) options.speculative.emplace().drafter = DrafterKind::kNgram;
      requests.push_back(engine.submit(options));
    }
    std::vector<test::Tokens> answers;
    for (const auto& request : requests) answers.push_back(test::answer_of(*request).tokens);
    return answers;
  };
  const auto expected = run([](const StepBatch&, std::span<float>) {});
  EXPECT_EQ(rows_listed(*model), 0u);
  EXPECT(run({}) == expected);
  EXPECT(rows_listed(*model) > 20);
  for (const auto& tokens : expected) EXPECT_EQ(tokens.size(), 7u);
}
