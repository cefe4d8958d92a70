// One prompt with and without an adapter, from C++.
//
//   lora_example MODEL.gguf ADAPTER TOKEN...
//
// The prompt is given as token ids: turning text into them is the Python layer's affair. Prints the
// two answers, first the model's own.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "engine/session.h"
#include "gguf/reader.h"
#include "lora/adapter_source.h"
#include "model/model.h"

namespace {

std::string answer(const std::shared_ptr<realm::Model>& model, const std::vector<int32_t>& prompt,
                   const realm::AdapterNames& adapters) {
  realm::SamplingParams params;
  params.temperature = 0;
  params.max_tokens = 12;
  realm::SessionOptions options;
  options.params = params;
  options.adapters = model->adapters().set_of(adapters);
  realm::Session session(model, options);
  session.prefill(prompt);
  std::string text;
  while (session.next_token()) text += session.take_text();
  return text + session.take_text();
}

int run(int argc, char** argv) {
  const auto model = realm::Model::load(realm::gguf::GgufFile::open(argv[1]), {});
  const auto report =
      model->adapters().load("mine", realm::lora::open_adapter(argv[2]), /*strict=*/true);
  std::vector<int32_t> prompt;
  for (int i = 3; i < argc; ++i) prompt.push_back(std::atoi(argv[i]));
  std::printf("base:%s\n", answer(model, prompt, {}).c_str());
  std::printf("adapter of rank %lld:%s\n", static_cast<long long>(report.rank),
              answer(model, prompt, {{"mine", 1.0f}}).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: lora_example MODEL.gguf ADAPTER TOKEN...\n");
    return 2;
  }
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
