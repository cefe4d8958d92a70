// Loads mutants of adapters, safetensors and GGUF, over a base in memory, and proves that none does
// harm: no crash, no hang, no memory beyond what the file justifies, no error but a clear one, the
// verdict that the mutant calls for; and that what loads can be merged.
//
//   adapter_mutants [--count N] [--seed S]   our own mutants of both kinds
//   adapter_mutants --dir DIR                mutants and manifest.jsonl of tools/st_mutate.py or
//                                            tools/gguf_mutate.py, made from what --make writes
//   adapter_mutants --make DIR               writes the two adapters that are mutated
//
// Prints a summary; the exit status is 0 when nothing was violated.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <map>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "fuzz/allocation_meter.h"
#include "fuzz/manifest.h"
#include "fuzz/mutate.h"
#include "fuzz/mutate_safetensors.h"
#include "gguf/writer.h"
#include "lora/adapter_builder.h"
#include "lora/merge.h"
#include "lora/safetensors.h"

namespace realm::test {
namespace {

constexpr double kLongestMs = 2000;
constexpr uint64_t kMemoryFactor = 24;  // the header's JSON as values
constexpr uint64_t kMemorySlack = uint64_t{64} << 20;

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail(ErrorCode::kIo, "cannot read ", quoted(path, 256));
  return {std::istreambuf_iterator<char>(in), {}};
}

void spill(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// Processor time: neighbours on a busy machine make nothing look like a hang.
double now_ms() {
  return 1000.0 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

// The base that the adapters are for.
std::shared_ptr<const lora::BaseLayout> make_base() {
  std::vector<lora::BaseTensor> tensors;
  for (const char* layer : {"blk.0.", "blk.1."}) {
    const auto add = [&](const char* leaf, int64_t rows, int64_t cols) {
      lora::BaseTensor tensor;
      tensor.name = std::string(layer) + leaf;
      tensor.rows = rows;
      tensor.cols = cols;
      tensors.push_back(std::move(tensor));
    };
    add("attn_q", 64, 64);
    add("attn_v", 32, 64);
    add("ffn_down", 64, 128);
  }
  const auto decode = [](const lora::BaseTensor& tensor, int64_t, int64_t n, float* out) {
    std::fill_n(out, n * tensor.cols, 0.5f);
  };
  const auto bias = [](const lora::BaseTensor&) { return std::vector<float>(); };
  return std::make_shared<const lora::BaseLayout>("llama", 2, std::move(tensors), decode, bias);
}

// The same adapter as GGUF, with factors of several formats.
std::string gguf_adapter(const std::string& safetensors) {
  gguf::Metadata metadata;
  metadata.set("general.architecture", std::string("llama"));
  metadata.set("general.type", std::string("adapter"));
  metadata.set("adapter.type", std::string("lora"));
  metadata.set("adapter.lora.alpha", 8.0f);
  const auto parsed = lora::parse_safetensors(std::as_bytes(std::span(safetensors)), "base");
  const std::map<std::string, std::string> leaves = {{"self_attn.q_proj", "attn_q"},
                                                     {"self_attn.v_proj", "attn_v"},
                                                     {"mlp.down_proj", "ffn_down"}};
  std::vector<gguf::TensorData> tensors;
  for (const lora::SourceTensor& tensor : parsed.tensors) {
    const size_t layer = tensor.name.find("layers.") + 7, lora = tensor.name.find(".lora_");
    const std::string module = tensor.name.substr(layer + 2, lora - layer - 2);
    const std::string part = tensor.name[lora + 6] == 'A' ? "a" : "b";
    const std::string name =
        concat("blk.", tensor.name[layer], ".", leaves.at(module), ".weight.lora_", part);
    tensors.push_back({{name, tensor.dtype, tensor.shape}, tensor.bytes});
  }
  const std::vector<std::byte> bytes = gguf::gguf_bytes(metadata, tensors);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string defect_of_message(const std::string& message) {
  const bool plain =
      std::ranges::all_of(message, [](char c) { return c == '\n' || (c >= 0x20 && c <= 0x7e); });
  if (message.empty()) return "the error has no message";
  if (message.size() > 600000) return concat("a message of ", message.size(), " bytes");
  return plain ? "" : "the message has unprintable bytes";
}

class Campaign {
 public:
  void run(const Mutant& mutant) {
    std::string refusal, violation;
    const double start = now_ms();
    const AllocationMeter meter;
    try {
      load_and_merge(mutant.bytes);
    } catch (const Error& error) {
      refusal = error.what();
      violation = defect_of_message(refusal);
      if (error.code() != ErrorCode::kFormat && error.code() != ErrorCode::kAdapter) {
        violation = concat("error code ", static_cast<int>(error.code()), ": ", refusal);
      }
    } catch (const std::exception& error) {
      violation = concat("a foreign exception: ", error.what());
    }
    const uint64_t peak = meter.peak_bytes();
    const double ms = now_ms() - start;
    if (ms > kLongestMs) violation = concat("took ", ms, " ms");
    if (peak > kMemoryFactor * mutant.bytes.size() + kMemorySlack)
      violation = concat("took ", peak, " bytes for ", mutant.bytes.size());
    const bool loaded = refusal.empty() && violation.empty();
    if (loaded && mutant.expect == Verdict::kReject) violation = "loaded, must be refused";
    if (!loaded && mutant.expect == Verdict::kLoad)
      violation = concat("refused, must load: ", refusal);
    note(mutant, loaded, violation, ms);
  }

  int report() const {
    uint64_t n = 0;
    for (const auto& [category, tally] : tallies_) {
      std::printf("%-16s %6llu loaded %6llu refused\n", category.c_str(), tally.first,
                  tally.second);
      n += tally.first + tally.second;
    }
    std::printf("%llu mutants, %llu with a verdict owed, %llu violations; slowest %.0f ms\n",
                static_cast<unsigned long long>(n), n_owed_, n_violations_, slowest_ms_);
    return n_violations_ == 0 && n > 0 ? 0 : 1;
  }

 private:
  void load_and_merge(const std::string& bytes) const {
    const auto source = lora::adapter_from_bytes(std::as_bytes(std::span(bytes)), nullptr);
    const auto adapter = lora::build_adapter(source, *base_, {});
    const lora::Merge merge(base_, {{adapter, 1.0f}});
    for (const lora::BaseTensor& tensor : base_->tensors()) {
      std::vector<float> values(static_cast<size_t>(tensor.rows * tensor.cols));
      if (merge.changes(tensor.name)) merge.apply(tensor.name, 0, tensor.rows, values.data());
    }
  }

  void note(const Mutant& mutant, bool loaded, const std::string& violation, double ms) {
    auto& [n_loaded, n_refused] = tallies_[mutant.category];
    ++(loaded ? n_loaded : n_refused);
    n_owed_ += mutant.expect != Verdict::kEither;
    slowest_ms_ = std::max(slowest_ms_, ms);
    if (violation.empty() || ++n_violations_ > 50) return;
    std::fprintf(stderr, "VIOLATION %s, %s: %s\n", mutant.category.c_str(), mutant.what.c_str(),
                 violation.substr(0, 500).c_str());
  }

  const std::shared_ptr<const lora::BaseLayout> base_ = make_base();
  std::map<std::string, std::pair<unsigned long long, unsigned long long>> tallies_;
  unsigned long long n_owed_ = 0, n_violations_ = 0;
  double slowest_ms_ = 0;
};

void run_ours(Campaign& campaign, uint64_t count, uint64_t seed) {
  const SafetensorsMutator safetensors(seed);
  for (size_t i = 0; i < safetensors.n_structured(); ++i) campaign.run(safetensors.structured(i));
  for (uint64_t i = 0; i < count; ++i) campaign.run(safetensors.random(i));
  const Mutator gguf(gguf_adapter(safetensors.base()), seed);
  for (size_t i = 0; i < gguf.n_structured(); ++i) {
    Mutant mutant = gguf.structured(i);
    mutant.category = "gguf " + mutant.category;
    // What loads as a container need not be an adapter.
    if (mutant.expect == Verdict::kLoad) mutant.expect = Verdict::kEither;
    campaign.run(mutant);
  }
  for (uint64_t i = 0; i < count; ++i) {
    Mutant mutant = gguf.random(i);
    mutant.category = "gguf " + mutant.category;
    campaign.run(mutant);
  }
}

void run_directory(Campaign& campaign, const std::string& dir) {
  for (const ManifestEntry& entry : read_manifest(slurp(dir + "/manifest.jsonl"))) {
    // That tool judges models; an adapter has no tokenizer to miss.
    const bool is_whole = entry.what == "without the tokenizer";
    campaign.run({entry.category, concat(entry.file, " ", quoted(entry.what, 160)),
                  is_whole ? Verdict::kEither : entry.expect, slurp(dir + "/" + entry.file),
                  nullptr});
  }
}

void make(const std::string& dir) {
  const std::string safetensors = SafetensorsMutator(0).base();
  spill(dir + "/adapter.safetensors", safetensors);
  spill(dir + "/adapter.gguf", gguf_adapter(safetensors));
}

}  // namespace
}  // namespace realm::test

int main(int argc, char** argv) {
  using namespace realm::test;
  std::map<std::string, std::string> options = {
      {"--count", "1500"}, {"--seed", "1"}, {"--dir", ""}, {"--make", ""}};
  for (int i = 1; i < argc; i += 2) {
    if (!options.contains(argv[i]) || i + 1 == argc) {
      std::fprintf(stderr, "unknown option %s, or one without value\n", argv[i]);
      return 2;
    }
    options[argv[i]] = argv[i + 1];
  }
  if (!options["--make"].empty()) {
    make(options["--make"]);
    return 0;
  }
  Campaign campaign;
  if (options["--dir"].empty()) {
    run_ours(campaign, std::stoull(options["--count"]), std::stoull(options["--seed"]));
  } else {
    run_directory(campaign, options["--dir"]);
  }
  return campaign.report();
}
