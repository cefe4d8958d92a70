// Throws arguments, handles and orders of calls that make no sense at the C interface, between
// calls that do, from one thread and from several. Nothing may break (the sanitizers look on),
// every status is one that exists, every refusal has a text and leaves the outputs alone, and a
// runtime beside it answers all the while as it did at first.
//
//   capi_mutants GOLDEN_FOLDER [--count N] [--seed S]
//
// Prints how often each function was called and refused; the exit status is 0 when nothing was
// violated and every function was both served and refused.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string_view>
#include <thread>

#include "fuzz/capi_caller.h"

namespace realm::test {
namespace {

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    std::exit(2);
  }
  return {std::istreambuf_iterator<char>(in), {}};
}

Files files_in(const std::string& golden) {
  Files files;
  files.model = golden + "/arch/llama/model-f32.gguf";
  files.adapter = golden + "/arch/llama/adapters/all-linear";
  files.model_bytes = slurp(files.model);
  files.adapter_bytes = slurp(files.adapter + "/adapter_model.safetensors");
  files.config = slurp(files.adapter + "/adapter_config.json");
  return files;
}

// A runtime whose handles no mutant gets.
class Neighbour {
 public:
  explicit Neighbour(const Files& files) {
    realm_runtime_create(nullptr, &runtime_);
    realm_model_load(runtime_, "tiny", 4, files.model.data(), files.model.size(), nullptr);
    realm_tenant_get_or_create(runtime_, "main", 4, "tiny", 4, nullptr, &tenant_);
  }
  ~Neighbour() {
    realm_tenant_free(tenant_);
    realm_runtime_destroy(runtime_);
  }

  // Empty if it fails.
  std::vector<int32_t> answer() {
    const int32_t prompt[] = {1, 2, 3, 4, 5};
    realm_sampling_params params;
    realm_request_options options;
    realm_sampling_params_init(&params, sizeof params);
    realm_request_options_init(&options, sizeof options);
    params.has_seed = 1;
    params.max_tokens = 16;
    params.ignore_eos = 1;
    options.params = &params;
    realm_request* request = nullptr;
    std::vector<int32_t> tokens(16);
    size_t n = 0;
    int32_t ended = 0;
    realm_generate(tenant_, prompt, 5, &options, &request);
    realm_request_take(request, tokens.data(), tokens.size(), &n, nullptr, 0, nullptr, &ended);
    realm_request_free(request);
    tokens.resize(n);
    return tokens;
  }

 private:
  realm_runtime* runtime_ = nullptr;
  realm_tenant* tenant_ = nullptr;
};

void free_all(Handles& handles) {
  for (void* h : handles.take_all(Handles::kRuntime)) {
    realm_runtime_destroy(static_cast<realm_runtime*>(h));
  }
  for (void* h : handles.take_all(Handles::kTenant))
    realm_tenant_free(static_cast<realm_tenant*>(h));
  for (void* h : handles.take_all(Handles::kRequest)) {
    realm_request_free(static_cast<realm_request*>(h));
  }
  for (void* h : handles.take_all(Handles::kSession)) {
    realm_session_free(static_cast<realm_session*>(h));
  }
  for (void* h : handles.take_all(Handles::kGguf)) realm_gguf_close(static_cast<realm_gguf*>(h));
}

// Every function must have done its work at times, and refused at times.
void judge(const Counts& counts, Verdict& verdict) {
  for (const auto& [name, count] : counts) {
    std::printf("%-36s %6d served %6d refused\n", name.c_str(), count.served.load(),
                count.refused.load());
    if (count.served == 0) verdict.violated(name.c_str(), "never served");
    if (count.refused == 0) verdict.violated(name.c_str(), "never refused");
  }
}

int run(const Files& files, int n_calls, uint64_t seed) {
  constexpr int kRounds = 4;
  Verdict verdict;
  Handles handles;
  Neighbour neighbour(files);
  const auto at_first = neighbour.answer();
  if (at_first.size() != 16) verdict.violated("realm_generate", "the neighbour has no answer");
  Counts counts = Caller(files, handles, verdict, seed).no_counts();
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t base = seed * 1000 + static_cast<uint64_t>(round) * 10;
    std::vector<std::thread> threads;
    for (uint64_t i = 0; i < (round < 2 ? 1u : 3u); ++i) {
      threads.emplace_back(
          [&, i] { Caller(files, handles, verdict, base + i).run(n_calls / kRounds, counts); });
    }
    for (auto& thread : threads) thread.join();
    if (neighbour.answer() != at_first) {
      verdict.violated("realm_generate", "the neighbour answers otherwise");
    }
    if (round == 1) free_all(handles);
  }
  free_all(handles);
  judge(counts, verdict);
  std::printf("%d violations\n", verdict.count());
  return verdict.count() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace realm::test

int main(int argc, char** argv) {
  int n_calls = 8000;
  uint64_t seed = 1;
  if (argc < 2) return 2;
  for (int i = 2; i + 1 < argc; i += 2) {
    if (std::string_view(argv[i]) == "--count") n_calls = std::atoi(argv[i + 1]);
    if (std::string_view(argv[i]) == "--seed") seed = std::strtoull(argv[i + 1], nullptr, 10);
  }
  return realm::test::run(realm::test::files_in(argv[1]), n_calls, seed);
}
