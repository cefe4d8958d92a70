// Many requests at once: all are computed together, step by step, and each has the answer that it
// has alone.
//
//   batching MODEL.gguf TOKEN... [/ TOKEN...]...
#include <cstdio>
#include <exception>

#include "token_arguments.h"

#include <realm/realm.hpp>

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::fprintf(stderr, "usage: batching MODEL.gguf TOKEN... [/ TOKEN...]...\n");
    return 2;
  }
  const auto prompts = prompts_from(argv + 2, argv + argc);
  realm::Runtime runtime;
  runtime.load_model("demo", argv[1]);
  const realm::Tenant tenant = runtime.tenant("main", "demo");

  realm::SamplingParams params;
  params.seed = 1;
  params.max_tokens = 10;
  std::vector<realm::Request> requests;
  for (const auto& prompt : prompts) requests.push_back(tenant.submit(prompt, params));

  bool all_equal = true;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const realm::Answer answer = requests[i].answer();
    const realm::Answer alone = tenant.generate(prompts[i], params);
    all_equal = all_equal && answer.tokens == alone.tokens;
    std::printf("%zu:%s\n", i, answer.bytes.c_str());
  }
  const realm::ModelStats stats = runtime.stats("demo");
  std::printf("%llu requests, %llu tokens\n", static_cast<unsigned long long>(stats.total_requests),
              static_cast<unsigned long long>(stats.tokens_generated));
  std::printf("%s\n", all_equal ? "each as alone" : "not as alone");
  return all_equal ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
