// Two tenants of one model: one speaks as the model does, the other through a LoRA adapter. Their
// requests run together, and the model is in memory once.
//
//   adapters MODEL.gguf ADAPTER TOKEN...
#include <cstdio>
#include <exception>

#include "token_arguments.h"

#include <realm/realm.hpp>

int main(int argc, char** argv) try {
  if (argc < 4) {
    std::fprintf(stderr, "usage: adapters MODEL.gguf ADAPTER TOKEN...\n");
    return 2;
  }
  const std::vector<int32_t> prompt = prompts_from(argv + 3, argv + argc)[0];
  realm::Runtime runtime;
  runtime.load_model("demo", argv[1]);
  runtime.load_adapter("style", argv[2], "demo");

  const realm::Tenant plain = runtime.tenant("plain", "demo");
  const realm::Tenant styled = runtime.tenant("styled", "demo");
  runtime.set_tenant_lora_adapter("styled", "style");

  realm::SamplingParams params;
  params.temperature = 0;
  params.max_tokens = 12;
  realm::Request first = plain.submit(prompt, params);
  realm::Request second = styled.submit(prompt, params);
  std::printf("base:%s\n", first.answer().bytes.c_str());
  std::printf("adapter:%s\n", second.answer().bytes.c_str());

  for (const realm::AdapterInfo& adapter : runtime.adapters()) {
    std::printf("%s: rank %lld, %llu bytes\n", adapter.id.c_str(),
                static_cast<long long>(adapter.rank),
                static_cast<unsigned long long>(adapter.bytes));
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
