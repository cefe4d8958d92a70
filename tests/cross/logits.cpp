// Computes a model's logits, for checks that run it on another machine or under an emulator
// (tests/cross/test_emulated.py):
//   logits MODEL CACHE ACTIVATIONS CHUNK TOKENS LOGITS
// CACHE is f32 or f16, ACTIVATIONS int8 or f32; TOKENS names a file of int32, LOGITS the one of
// float32 that is written. Prints what computed them.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "model/solo_sequence.h"

using namespace realm;

namespace {

std::vector<int32_t> read_tokens(const std::string& path) {
  const File file(path);
  std::vector<int32_t> tokens(static_cast<size_t>(file.size() / sizeof(int32_t)));
  file.read_at(0, std::as_writable_bytes(std::span(tokens)));
  return tokens;
}

void run(char** argv) {
  const KvType cache = std::string(argv[2]) == "f32" ? KvType::kF32 : KvType::kF16;
  const ActivationKind activations =
      std::string(argv[3]) == "f32" ? ActivationKind::kF32 : ActivationKind::kInt8;
  const auto model = Model::load(gguf::GgufFile::open(argv[1]),
                                 {.n_threads = 2, .activations = activations, .load = {}});
  const std::vector<int32_t> tokens = read_tokens(argv[5]);
  const auto n = static_cast<int64_t>(tokens.size());
  std::vector<float> logits(static_cast<size_t>(n * model->config().n_vocab));
  const int64_t chunk = std::atoll(argv[4]);
  SoloSequence(model, {.kv_type = cache, .max_tokens = n, .chunk_rows = chunk, .adapters = {}})
      .append(tokens, n, logits.data());
  OutputFile out(argv[6]);
  out.write(std::as_bytes(std::span(logits)));
  out.commit();
  std::printf("%s\n", model->backend().description().c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: logits MODEL CACHE ACTIVATIONS CHUNK TOKENS LOGITS\n");
    return 2;
  }
  try {
    run(argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
