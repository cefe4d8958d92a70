// One prompt, answered piece by piece.
//
//   generate MODEL.gguf TOKEN...
#include <cstdio>
#include <exception>

#include "token_arguments.h"

#include <realm/realm.hpp>

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::fprintf(stderr, "usage: generate MODEL.gguf TOKEN...\n");
    return 2;
  }
  realm::Runtime runtime;
  runtime.load_model("demo", argv[1]);
  const realm::Tenant tenant = runtime.tenant("main", "demo");

  realm::SamplingParams params;
  params.temperature = 0;
  params.max_tokens = 12;
  realm::Request request = tenant.submit(prompts_from(argv + 2, argv + argc)[0], params);
  while (const auto piece = request.next()) {
    std::fwrite(piece->bytes.data(), 1, piece->bytes.size(), stdout);
    std::fflush(stdout);
  }

  const realm::RequestReport report = request.report();
  std::printf("\n%lld tokens after a prompt of %lld\n", static_cast<long long>(report.n_generated),
              static_cast<long long>(report.n_prompt));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
