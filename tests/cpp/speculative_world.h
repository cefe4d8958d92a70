// What the suites of speculation share: noisy copies of models, and drafters that behave as a test
// wants.
#pragma once

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cpp/engine_world.h"
#include "engine/speculative/drafter.h"
#include "gguf/writer.h"

namespace realm::test {

inline std::shared_ptr<Model> demo_draft(int n_threads = 2) {
  return load(REALM_GOLDEN_DIR "/../../python/realm_ext/demo/draft.gguf", n_threads);
}

// The same model with every f32 weight matrix moved by normal noise of `spread` times its own mean
// size. Vectors (norms, biases) stay.
inline std::shared_ptr<Model> noisy_copy(const std::string& path, float spread, unsigned seed) {
  const auto file = gguf::GgufFile::open(path);
  Random random(seed);
  std::vector<std::vector<float>> values;
  std::vector<gguf::TensorData> tensors;
  for (const gguf::TensorInfo& info : file->tensors()) {
    std::vector<float>& own = values.emplace_back(static_cast<size_t>(info.shape.elements()));
    file->read_f32(info, own.data());
    if (info.shape.rank() > 1) {
      double size = 0;
      for (const float value : own) size += std::abs(value);
      std::normal_distribution<float> noise(
          0, spread * static_cast<float>(size / static_cast<double>(own.size())));
      for (float& value : own) value += noise(random);
    }
    tensors.push_back({{info.name, DType::kF32, info.shape}, std::as_bytes(std::span(own))});
  }
  auto bytes =
      std::make_shared<std::vector<std::byte>>(gguf::gguf_bytes(file->metadata(), tensors));
  return Model::load(gguf::GgufFile::from_bytes(*bytes, bytes), {.n_threads = 2, .load = {}});
}

// Guesses what a function says.
class ScriptedDrafter final : public Drafter {
 public:
  using Script = std::function<void(const DraftRequest&, Draft&)>;
  explicit ScriptedDrafter(Script script) : script_(std::move(script)) {}

  void propose(std::span<const DraftRequest> requests, std::span<Draft> drafts) override {
    for (size_t i = 0; i < requests.size(); ++i) script_(requests[i], drafts[i]);
    ++n_proposals;
  }
  void settle(uint64_t, size_t n_accepted) noexcept override { settled.push_back(n_accepted); }
  void forget(uint64_t id) noexcept override { forgotten.push_back(id); }

  int64_t n_proposals = 0;
  std::vector<size_t> settled;
  std::vector<uint64_t> forgotten;

 private:
  Script script_;
};

// Guesses along `answer`, each token right with chance `right`, else another one.
inline ScriptedDrafter::Script guess_along(Tokens answer, int64_t n_prompt, double right,
                                           int64_t n_vocab, unsigned seed) {
  auto random = std::make_shared<Random>(seed);
  return [=](const DraftRequest& request, Draft& draft) {
    const auto from = static_cast<int64_t>(request.tokens.size()) - n_prompt;
    for (int64_t i = from; i < from + request.n_wanted && i < std::ssize(answer); ++i) {
      const int32_t token = answer[static_cast<size_t>(i)];
      const bool is_right = std::uniform_real_distribution()(*random) < right;
      draft.tokens.push_back(is_right ? token : static_cast<int32_t>((token + 1) % n_vocab));
    }
    if (draft.tokens.empty()) draft.delay = "the script has ended";
  };
}

}  // namespace realm::test
