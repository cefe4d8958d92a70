// A small draft model guesses ahead, and the answer is the plain one, token for token.
//
//   speculation MODEL.gguf DRAFT.gguf TOKEN...
#include <cstdio>
#include <exception>

#include "token_arguments.h"

#include <realm/realm.hpp>

int main(int argc, char** argv) try {
  if (argc < 4) {
    std::fprintf(stderr, "usage: speculation MODEL.gguf DRAFT.gguf TOKEN...\n");
    return 2;
  }
  const std::vector<int32_t> prompt = prompts_from(argv + 3, argv + argc)[0];
  realm::Runtime runtime;
  realm::ModelOptions options;
  options.draft_path = argv[2];
  runtime.load_model("demo", argv[1], options);
  const realm::Tenant tenant = runtime.tenant("main", "demo");

  realm::SamplingParams params;
  params.seed = 7;  // sampled, and yet the same: guesses share the noise of the draw
  params.max_tokens = 40;
  realm::SpeculativeConfig guesses;
  guesses.draft_k = 4;
  guesses.adaptive = false;  // always four, however well they do
  const realm::Answer plain = tenant.generate(prompt, params);
  const realm::Answer guessed = tenant.generate(prompt, params, guesses);

  std::printf("%s\n", guessed.bytes.c_str());
  std::printf("%lld of %lld guesses stood\n", static_cast<long long>(guessed.report.accepted),
              static_cast<long long>(guessed.report.drafted));
  std::printf("%s\n", guessed.tokens == plain.tokens ? "the same answer" : "another answer");
  return guessed.tokens == plain.tokens ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
