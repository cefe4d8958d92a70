// A model's layers one by one over the CUDA backend, on the emulated device: rows go to the device
// and come back between layers, and what they give has the bits of the whole forward in the same
// steps.
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "backend/registry.h"
#include "cpp/harness.h"
#include "model/layer_session.h"
#include "model/solo_sequence.h"

using namespace realm;

namespace {

using Floats = std::vector<float>;
using Tokens = std::vector<int32_t>;

std::shared_ptr<Model> load(const std::string& path) {
  const auto file = gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/", path, ".gguf"));
  return Model::load(file, {.device = "cuda", .n_threads = 2});
}

Floats whole(const std::shared_ptr<Model>& model, const Tokens& tokens, int64_t chunk) {
  const auto n = static_cast<int64_t>(tokens.size());
  Floats logits(static_cast<size_t>(n * model->config().n_vocab));
  SoloSequence(model, {.kv_type = KvType::kF16, .max_tokens = n, .chunk_rows = chunk})
      .append(tokens, n, logits.data());
  return logits;
}

Floats by_layers(const std::shared_ptr<Model>& model, const Tokens& tokens, size_t chunk) {
  const ModelConfig& config = model->config();
  LayerSession session(model, {.max_tokens = static_cast<int64_t>(tokens.size())});
  Floats logits;
  for (size_t first = 0; first < tokens.size(); first += chunk) {
    const auto some = std::span(tokens).subspan(first, std::min(chunk, tokens.size() - first));
    Floats rows(some.size() * static_cast<size_t>(config.n_embd));
    session.embed_tokens(some, rows);
    for (int64_t i = 0; i < config.n_layers; ++i) session.forward_layer(i, rows, rows);
    const size_t before = logits.size();
    logits.resize(before + some.size() * static_cast<size_t>(config.n_vocab));
    session.compute_logits(rows, std::span(logits).subspan(before));
  }
  return logits;
}

}  // namespace

TEST(layers_on_the_device_compose_to_the_bits_of_the_whole_forward) {
  for (const char* path : {"arch/gemma2/model-f32", "arch/mixtral/model-f32"}) {
    const auto model = load(path);
    std::mt19937 random(5);
    Tokens tokens(6);
    for (int32_t& token : tokens) {
      token = static_cast<int32_t>(random() % static_cast<uint64_t>(model->config().n_vocab));
    }
    for (const int64_t chunk : {1, 6}) {
      const Floats expected = whole(model, tokens, chunk);
      const Floats ours = by_layers(model, tokens, static_cast<size_t>(chunk));
      if (ours.size() != expected.size() ||
          std::memcmp(ours.data(), expected.data(), ours.size() * sizeof(float)) != 0) {
        test::report_failure(__FILE__, __LINE__, concat(path, ", steps of ", chunk));
      }
    }
  }
}

TEST(rows_that_are_refused_never_reach_the_device) {
  const auto model = load("arch/llama/model-f32");
  LayerSession session(model, {.max_tokens = 4});
  const auto width = static_cast<size_t>(model->config().n_embd);
  Floats rows(5 * width, 0.5f);
  EXPECT_ERROR(kInvalidRequest, { session.forward_layer(0, rows, rows); });
  rows.resize(width);
  rows[3] = -HUGE_VALF;
  EXPECT_ERROR(kInvalidRequest, { session.forward_layer(0, rows, rows); });
  EXPECT_EQ(session.next_layer(), 0);
}
