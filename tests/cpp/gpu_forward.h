// The whole forward through a GPU backend on the emulated device against the CPU backend, which
// tests/python/test_forward.py holds to 1e-9 of float64 oracles. REALM_EXTENDED=1 runs every golden
// model.
#pragma once

#include <cmath>
#include <cstdlib>
#include <random>

#include "backend/registry.h"
#include "cpp/harness.h"
#include "model/decoder.h"
#include "model/solo_sequence.h"

namespace realm::test {

using Floats = std::vector<float>;
using Tokens = std::vector<int32_t>;

inline std::shared_ptr<Model> load(const std::string& path, const std::string& device) {
  const auto file = gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/", path, ".gguf"));
  const auto activations = device == "cpu" ? ActivationKind::kF32 : ActivationKind::kInt8;
  return Model::load(file, {.device = device, .n_threads = 2, .activations = activations});
}

inline Tokens random_tokens(int64_t n, int64_t n_vocab) {
  std::mt19937 random(5);
  Tokens tokens(static_cast<size_t>(n));
  for (int32_t& token : tokens)
    token = static_cast<int32_t>(random() % static_cast<uint64_t>(n_vocab));
  return tokens;
}

inline Floats logits(const std::shared_ptr<Model>& model, const Tokens& tokens, KvType type,
                     int64_t chunk, std::shared_ptr<const AdapterSet> adapters = {}) {
  const auto n = static_cast<int64_t>(tokens.size());
  Floats values(static_cast<size_t>(n * model->config().n_vocab));
  SoloSequence(model, {.kv_type = type, .max_tokens = n, .chunk_rows = chunk, .adapters = adapters})
      .append(tokens, n, values.data());
  return values;
}

// Squared differences over the reference's squares; infinite for NaN.
inline double nmse(const Floats& values, const Floats& reference) {
  double error = 0, power = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(double{values[i]} - reference[i], 2);
    power += std::pow(double{reference[i]}, 2);
  }
  return error / power <= 1e9 ? error / power : INFINITY;
}

inline bool extended() {
  return std::getenv("REALM_EXTENDED") != nullptr;
}

using Names = std::vector<const char*>;

// The first names always, the others when much time is granted.
inline Names some(const Names& always, const Names& others) {
  Names names = always;
  if (extended()) names.insert(names.end(), others.begin(), others.end());
  return names;
}

// A prompt in one piece, then in chunks that the kernels of few rows serve.
inline void expect_near(const char* device, const std::string& path, KvType type, double budget,
                        int64_t n_tokens = 40) {
  const auto cpu = load(path, "cpu"), gpu = load(path, device);
  const Tokens tokens =
      random_tokens(std::min(n_tokens, cpu->config().n_ctx), cpu->config().n_vocab);
  const Floats expected = logits(cpu, tokens, KvType::kF32, 512);
  for (const int64_t chunk : {int64_t{512}, int64_t{5}}) {
    const double error = nmse(logits(gpu, tokens, type, chunk), expected);
    if (!(error <= budget)) {
      report_failure(__FILE__, __LINE__,
                     concat(device, ": ", path, ", cache ", static_cast<int>(type), ", chunks of ",
                            chunk, ": NMSE ", error, " above ", budget));
    }
  }
}

}  // namespace realm::test
