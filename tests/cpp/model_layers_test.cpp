// Layers run one by one by their caller give the bits of the whole forward: for every architecture,
// cut into random steps, over every cache and with adapters, whoever else computes between two
// layers. The reference is SoloSequence in one piece. And what a session refuses leaves it as it
// was.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cpp/harness.h"
#include "model/layer_session.h"
#include "model/solo_sequence.h"

using namespace realm;
using test::contains;

namespace {

using Floats = std::vector<float>;
using Tokens = std::vector<int32_t>;
using Random = std::mt19937;

std::shared_ptr<Model> load(const std::string& path) {
  return Model::load(gguf::GgufFile::open(path), {.n_threads = 2, .load = {}});
}

std::string arch(const std::string& name) {
  return concat(REALM_GOLDEN_DIR "/arch/", name, "/model-f32.gguf");
}

std::string forward(const std::string& name) {
  return concat(REALM_GOLDEN_DIR "/forward/", name, ".gguf");
}

// Every architecture, the corners of each, and quantized weights.
std::vector<std::string> all_models() {
  std::vector<std::string> paths = {REALM_GOLDEN_DIR "/quant/Q4_K_M.gguf"};
  for (const char* name :
       {"gemma2", "gemma3", "granite", "llama", "llama-yarn", "llama3-rope", "mixtral", "olmo2",
        "phi3", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "smollm3"}) {
    paths.push_back(arch(name));
  }
  for (const auto& file : std::filesystem::directory_iterator(REALM_GOLDEN_DIR "/forward")) {
    const std::string path = file.path().string();
    if (path.ends_with(".gguf") && !contains(path, "type-")) paths.push_back(path);
  }
  return paths;
}

int64_t between(Random& random, int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random);
}

Tokens random_tokens(Random& random, int64_t n, const Model& model) {
  Tokens tokens(static_cast<size_t>(n));
  for (int32_t& token : tokens)
    token = static_cast<int32_t>(between(random, 0, model.config().n_vocab - 1));
  return tokens;
}

Floats whole(const std::shared_ptr<Model>& model, const Tokens& tokens, const LayerOptions& like) {
  const auto n = static_cast<int64_t>(tokens.size());
  Floats logits(static_cast<size_t>(n * model->config().n_vocab));
  SoloSequence(model, {.kv_type = like.kv_type, .max_tokens = n, .adapters = like.adapters})
      .append(tokens, n, logits.data());
  return logits;
}

// The tokens through every layer as one step; their logits at the end of `logits`.
void step(LayerSession& session, std::span<const int32_t> tokens, Floats& logits) {
  const ModelConfig& config = session.model().config();
  Floats rows(tokens.size() * static_cast<size_t>(config.n_embd));
  session.embed_tokens(tokens, rows);
  for (int64_t i = 0; i < config.n_layers; ++i) session.forward_layer(i, rows, rows);
  const size_t before = logits.size();
  logits.resize(before + tokens.size() * static_cast<size_t>(config.n_vocab));
  session.compute_logits(rows, std::span(logits).subspan(before));
}

// In steps of at most `most` rows.
Floats by_layers(const std::shared_ptr<Model>& model, const Tokens& tokens, LayerOptions options,
                 int64_t most, Random& random) {
  options.max_tokens = static_cast<int64_t>(tokens.size());
  LayerSession session(model, options);
  Floats logits;
  while (session.length() < session.capacity()) {
    const int64_t left = session.capacity() - session.length();
    const int64_t n = between(random, 1, std::min(most, left));
    const auto first = static_cast<size_t>(session.length());
    step(session, std::span(tokens).subspan(first, static_cast<size_t>(n)), logits);
  }
  return logits;
}

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// One token at a time, in random steps, and as one.
void expect_same_bits(const std::shared_ptr<Model>& model, const LayerOptions& options,
                      const std::string& what) {
  Random random(7);
  const int64_t n = std::min<int64_t>(model->config().n_ctx, 70);
  const Tokens tokens = random_tokens(random, n, *model);
  const Floats expected = whole(model, tokens, options);
  for (const int64_t most : {int64_t{1}, int64_t{20}, n}) {
    if (!same_bits(by_layers(model, tokens, options, most, random), expected)) {
      test::report_failure(__FILE__, __LINE__, concat(what, ", steps of up to ", most));
    }
  }
}

// A session in the middle of things: two rows long, and a step of three rows before layer 1.
struct Midway {
  std::shared_ptr<Model> model = load(forward("llama-biases"));
  LayerSession session{model, {.max_tokens = 8, .max_rows = 4}};
  Floats rows = Floats(static_cast<size_t>(3 * width()), 0.25f);
  Floats two = Floats(static_cast<size_t>(2 * width()));

  Midway() {
    Floats logits;
    step(session, Tokens{5, 6}, logits);
    session.forward_layer(0, rows, rows);
  }
  int64_t width() const { return model->config().n_embd; }
  void expect_unmoved() const {
    EXPECT_EQ(session.length(), 2);
    EXPECT_EQ(session.next_layer(), 1);
    EXPECT_EQ(session.n_step_rows(), 3);
  }
};

}  // namespace

TEST(layers_of_every_architecture_compose_to_the_bits_of_the_whole_forward) {
  for (const std::string& path : all_models())
    expect_same_bits(load(path), {.kv_type = KvType::kF32}, path);
}

TEST(so_they_do_over_every_cache) {
  const auto model = load(forward("gemma3-global-layer"));
  for (const KvType type : {KvType::kF16, KvType::kBF16, KvType::kQ8_0})
    expect_same_bits(model, {.kv_type = type}, concat("cache ", static_cast<int>(type)));
}

TEST(so_they_do_with_adapters) {
  for (const auto& base : std::filesystem::directory_iterator(REALM_GOLDEN_DIR "/arch")) {
    const auto folder = base.path() / "adapters";
    if (!std::filesystem::exists(folder)) continue;
    const auto model = load((base.path() / "model-f32.gguf").string());
    for (const auto& adapter : std::filesystem::directory_iterator(folder)) {
      if (!adapter.is_directory()) continue;
      const std::string path = adapter.path().string();
      model->adapters().load("one", lora::open_adapter(path), true);
      const auto set = model->adapters().set_of({{"one", 0.75f}});
      expect_same_bits(model, {.adapters = set}, path);
      Random random(1);
      const Tokens tokens = random_tokens(random, 9, *model);
      if (same_bits(whole(model, tokens, {.adapters = set}), whole(model, tokens, {})))
        test::report_failure(__FILE__, __LINE__, concat(path, " changes nothing"));
    }
  }
}

TEST(who_computes_between_two_layers_changes_no_bit) {
  const auto model = load(forward("qwen2moe-ties"));
  Random random(3);
  const auto width = static_cast<size_t>(model->config().n_embd);
  const Tokens tokens[] = {random_tokens(random, 12, *model), random_tokens(random, 12, *model)};
  LayerSession sessions[] = {{model, {.max_tokens = 12}}, {model, {.max_tokens = 12}}};
  Floats rows[] = {Floats(12 * width), Floats(12 * width)};
  for (size_t who : {0, 1}) sessions[who].embed_tokens(tokens[who], rows[who]);
  for (int64_t i = 0; i < model->config().n_layers; ++i) {
    for (size_t who : {0, 1}) {
      sessions[who].forward_layer(i, rows[who], rows[who]);
      Floats ignored(12 * static_cast<size_t>(model->config().n_vocab));
      sessions[who].compute_logits(rows[who], ignored);
      whole(model, tokens[1 - who], {});
    }
  }
  for (size_t who : {0, 1}) {
    Floats logits(12 * static_cast<size_t>(model->config().n_vocab));
    sessions[who].compute_logits(rows[who], logits);
    EXPECT(same_bits(logits, whole(model, tokens[who], {})));
  }
}

TEST(what_a_session_forgets_leaves_no_trace) {
  Midway midway;
  Random random(4);
  const Tokens tokens = {5, 6, 9, 1, 7};
  midway.session.truncate(2);  // the step alone
  EXPECT_EQ(midway.session.next_layer(), 0);
  Floats logits;
  step(midway.session, Tokens{1, 2, 3}, logits);
  midway.session.truncate(2);
  logits.clear();
  step(midway.session, std::span(tokens).subspan(2), logits);
  const Floats expected = whole(midway.model, tokens, {.kv_type = KvType::kF16});
  const auto n = static_cast<ptrdiff_t>(logits.size());
  EXPECT(same_bits(logits, Floats(expected.end() - n, expected.end())));
}

TEST(layers_out_of_order_are_refused_by_name) {
  Midway midway;
  for (const int64_t layer : {int64_t{0}, int64_t{2}, int64_t{-1}, int64_t{99}}) {
    const std::string why = EXPECT_ERROR(
        kInvalidRequest, { midway.session.forward_layer(layer, midway.rows, midway.rows); });
    EXPECT(contains(why, concat("layer ", layer, " is out of order: layer 1 of the step")));
    midway.expect_unmoved();
  }
  EXPECT(contains(
      EXPECT_ERROR(kInvalidRequest, { midway.session.embed_tokens(Tokens{1, 2}, midway.two); }),
      "layer 1 of the step under way comes next"));
  midway.session.truncate(2);
  EXPECT(contains(
      EXPECT_ERROR(kInvalidRequest, { midway.session.forward_layer(1, midway.rows, midway.rows); }),
      "layer 0 begins a step"));
}

TEST(rows_that_change_in_number_or_do_not_fit_are_refused) {
  Midway midway;
  LayerSession& session = midway.session;
  EXPECT(
      contains(EXPECT_ERROR(kInvalidRequest, { session.forward_layer(1, midway.two, midway.two); }),
               "a step of 3 rows has 2 at layer 1"));
  const auto rows = std::span(midway.rows);
  EXPECT_ERROR(kInvalidRequest, { session.forward_layer(1, rows.first(5), rows.first(5)); });
  EXPECT_ERROR(kInvalidRequest, { session.forward_layer(1, rows.first(0), rows.first(0)); });
  EXPECT_ERROR(kInvalidRequest, { session.forward_layer(1, rows, midway.two); });
  midway.expect_unmoved();
  Floats logits(static_cast<size_t>(3 * midway.model->config().n_vocab));
  EXPECT_ERROR(kInvalidRequest, { session.compute_logits(rows, std::span(logits).first(7)); });
  EXPECT_ERROR(kInvalidRequest, { session.compute_logits(rows, {}); });
  EXPECT_ERROR(kInvalidRequest, { session.compute_logits({}, {}); });
  session.compute_logits(rows, logits);
  session.truncate(2);
  EXPECT_ERROR(kInvalidRequest, { session.embed_tokens(Tokens{1}, midway.two); });
  EXPECT_ERROR(kInvalidRequest, { session.embed_tokens({}, {}); });
  EXPECT_ERROR(kInvalidRequest, { session.embed_tokens(Tokens{1, 96}, midway.two); });
  EXPECT_ERROR(kInvalidRequest, { session.embed_tokens(Tokens{1, -1}, midway.two); });
}

TEST(positions_beyond_the_capacity_are_refused_before_anything_is_computed) {
  const auto model = load(forward("llama-biases"));
  const auto width = static_cast<size_t>(model->config().n_embd);
  EXPECT_ERROR(kInvalidRequest, { LayerSession(model, {.max_tokens = -1}); });
  EXPECT_ERROR(kInvalidRequest, { LayerSession(model, {.max_tokens = 129}); });
  EXPECT_ERROR(kInvalidRequest, { LayerSession(model, {.max_rows = 0}); });
  EXPECT_EQ(LayerSession(model, {}).capacity(), model->config().n_ctx);
  LayerSession session(model, {.max_tokens = 8, .max_rows = 4});
  Floats rows(5 * width), logits;
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { session.forward_layer(0, rows, rows); }),
                  "a step of 5 rows; this session takes at most 4"));
  step(session, Tokens{1, 2, 3, 4}, logits);
  step(session, Tokens{1, 2}, logits);
  rows.assign(3 * width, 0.5f);
  const Floats before = rows;
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { session.forward_layer(0, rows, rows); }),
                  "made for 8"));
  EXPECT_ERROR(kInvalidRequest, { session.embed_tokens(Tokens{1, 2, 3}, rows); });
  EXPECT(same_bits(rows, before));
  EXPECT_EQ(session.next_layer(), 0);
  EXPECT_ERROR(kInvalidRequest, { session.truncate(7); });
  EXPECT_ERROR(kInvalidRequest, { session.truncate(-1); });
}

TEST(rows_that_are_not_finite_are_refused_where_they_are) {
  Midway midway;
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float value : {std::nanf(""), infinity, -infinity}) {
    Floats rows = midway.rows;
    rows[static_cast<size_t>(midway.width()) + 3] = value;
    const std::string why =
        EXPECT_ERROR(kInvalidRequest, { midway.session.forward_layer(1, rows, rows); });
    EXPECT(contains(why, "in row 1, column 3"));
    Floats logits(static_cast<size_t>(3 * midway.model->config().n_vocab));
    EXPECT_ERROR(kInvalidRequest, { midway.session.compute_logits(rows, logits); });
  }
  midway.expect_unmoved();
}

// Huge values may become infinite within a layer, which is then refused; never more than that, and
// the next sequence is none the wiser.
TEST(rows_of_huge_values_harm_nobody) {
  for (const std::string& path : all_models()) {
    const auto model = load(path);
    Random random(5);
    const Tokens tokens = random_tokens(random, 10, *model);
    const Floats expected = whole(model, tokens, {});
    LayerSession session(model, {.max_tokens = 10});
    const auto width = static_cast<size_t>(model->config().n_embd);
    Floats rows(4 * width), logits(4 * static_cast<size_t>(model->config().n_vocab));
    for (float& value : rows) value = between(random, 0, 1) ? 3e38f : -3e38f;
    try {
      for (int64_t i = 0; i < model->config().n_layers; ++i) session.forward_layer(i, rows, rows);
      session.compute_logits(rows, logits);
    } catch (const Error& error) {
      EXPECT(error.code() == ErrorCode::kFormat || error.code() == ErrorCode::kInvalidRequest);
    }
    session.truncate(0);
    logits.clear();
    step(session, tokens, logits);
    if (!same_bits(logits, expected)) test::report_failure(__FILE__, __LINE__, path);
  }
}

TEST(a_cancelled_layer_leaves_the_session_where_it_was) {
  Midway midway;
  const std::atomic<bool> raised{true};
  Floats rows = midway.rows, logits(static_cast<size_t>(3 * midway.model->config().n_vocab));
  EXPECT_ERROR(kCancelled, { midway.session.forward_layer(1, rows, rows, &raised); });
  EXPECT_ERROR(kCancelled, { midway.session.compute_logits(rows, logits, &raised); });
  midway.expect_unmoved();
  Floats again = midway.rows, expected = midway.rows;
  midway.session.forward_layer(1, again, again);
  Midway().session.forward_layer(1, expected, expected);
  EXPECT(same_bits(again, expected));
}
