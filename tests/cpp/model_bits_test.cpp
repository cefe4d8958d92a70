// One answer everywhere: the logits of golden models have the bits that are written here, at every
// level of the machine that runs this. So x86-64 and Arm agree if this passes on both, which it
// does (docs/arm.md). A change of the arithmetic shows here; if it is meant, the new hashes that a
// failure prints go into the table, and docs/numerics.md says what changed.
#include <cstdlib>
#include <random>
#include <string>

#include "base/cpu_features.h"
#include "base/sha256.h"
#include "cpp/harness.h"
#include "model/solo_sequence.h"

using namespace realm;

namespace {

struct Golden {
  const char* path;
  KvType cache;
  const char* hash;  // the first 16 digits of the SHA-256 of the logits
};

// Together: every kind of block, every way to rotate, every cache, and nearly every weight format.
constexpr Golden kGolden[] = {
    {"arch/llama/model-f32", KvType::kF32, "66cef66971d088e1"},
    {"forward/gemma2-window", KvType::kF16, "1bc2881e48430a0d"},
    {"forward/gemma3-global-layer", KvType::kBF16, "6b875d1300dbc34b"},
    {"forward/gpt2", KvType::kF32, "d1ec63651280af00"},
    {"forward/granite-untied", KvType::kQ8_0, "4c9f1d1ccb87155a"},
    {"forward/llama-heads-80", KvType::kQ8_0, "1b619c0348a66b69"},
    {"forward/llama-yarn-long", KvType::kF16, "ebf175d97294a85d"},
    {"forward/llama3-rope-long", KvType::kF32, "3e4567694f86a170"},
    {"forward/mixtral-8-experts", KvType::kF16, "740ff7b1e094e173"},
    {"forward/olmo3-window", KvType::kF32, "18d84d56895dd632"},
    {"forward/phi3-longrope", KvType::kF16, "cc0dac89f91c81cf"},
    {"forward/qwen2moe-ties", KvType::kF32, "c50d66e637973815"},
    {"forward/starcoder2", KvType::kBF16, "a01bcd65969142ab"},
    {"forward/type-F64", KvType::kF32, "5e083de788d24eba"},
    {"forward/type-IQ1_M", KvType::kF32, "7deb49b55e7d5787"},
    {"forward/type-IQ2_S", KvType::kF32, "f80c517bcd08c26b"},
    {"forward/type-IQ3_XXS", KvType::kF32, "4c5477c66b466040"},
    {"forward/type-MXFP4", KvType::kF32, "de99ba36e5c4b454"},
    {"forward/type-NVFP4", KvType::kF32, "661a1ecf2194fec4"},
    {"forward/type-Q8_K", KvType::kF32, "07e435d4c50855d4"},
    {"quant/BF16", KvType::kF16, "930c35909032866c"},
    {"quant/F16", KvType::kF16, "738dd4671de69dc5"},
    {"quant/IQ4_NL", KvType::kF16, "26c08dec0ca0eeea"},
    {"quant/IQ4_XS", KvType::kF16, "5764fdca6654fd25"},
    {"quant/Q2_K", KvType::kF16, "d1837cfc11229921"},
    {"quant/Q3_K_M", KvType::kF16, "97cda91576834312"},
    {"quant/Q4_0", KvType::kF16, "27c50646fc533a28"},
    {"quant/Q4_1", KvType::kF16, "3a577f6ca27814fc"},
    {"quant/Q4_K_M", KvType::kF16, "6786feb27668df66"},
    {"quant/Q5_0", KvType::kF16, "72862b92e0826a06"},
    {"quant/Q5_1", KvType::kF16, "e026d5fdfc597353"},
    {"quant/Q5_K_M", KvType::kF16, "1f7498f6713d6101"},
    {"quant/Q6_K", KvType::kF16, "630d68c5fd29b3d8"},
    {"quant/Q8_0", KvType::kF16, "d7d80e8a7738ed4e"},
    {"quant/TQ1_0", KvType::kF16, "ebc2d050e1f7ae51"},
};

// The level that models loaded meanwhile compute at.
class ForcedLevel {
 public:
  explicit ForcedLevel(CpuLevel level) { ::setenv("REALM_CPU_ISA", cpu_level_name(level), 1); }
  ~ForcedLevel() { ::unsetenv("REALM_CPU_ISA"); }
  ForcedLevel(const ForcedLevel&) = delete;
  ForcedLevel& operator=(const ForcedLevel&) = delete;
};

std::vector<int32_t> random_tokens(int64_t n, int64_t n_vocab) {
  std::mt19937 random(5);
  std::vector<int32_t> tokens(static_cast<size_t>(n));
  for (int32_t& token : tokens) {
    token = static_cast<int32_t>(random() % static_cast<uint64_t>(n_vocab));
  }
  return tokens;
}

// Of 24 tokens, `chunk` at a time: many rows share their weights, or few.
std::string hash_of_logits(const Golden& golden, int64_t chunk) {
  constexpr int64_t kTokens = 24;
  const auto file = gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/", golden.path, ".gguf"));
  const auto model = Model::load(file, {.n_threads = 2});
  const auto tokens = random_tokens(kTokens, model->config().n_vocab);
  std::vector<float> logits(static_cast<size_t>(kTokens * model->config().n_vocab));
  SoloSequence sequence(
      model, {.kv_type = golden.cache, .max_tokens = kTokens, .chunk_rows = chunk, .adapters = {}});
  sequence.append(tokens, kTokens, logits.data());
  return to_hex(sha256(std::as_bytes(std::span(logits)))).substr(0, 16);
}

void expect_hashes(CpuLevel level, int64_t chunk) {
  const ForcedLevel forced(level);
  for (const Golden& golden : kGolden) {
    const std::string hash = hash_of_logits(golden, chunk);
    if (hash == golden.hash) continue;
    test::report_failure(__FILE__, __LINE__,
                         concat(golden.path, " at ", cpu_level_name(level), " in chunks of ", chunk,
                                ": ", hash, ", not ", golden.hash));
  }
}

}  // namespace

TEST(a_prompt_has_the_bits_of_every_machine_at_every_level) {
  for (const CpuLevel level : supported_cpu_levels()) expect_hashes(level, 24);
}

TEST(small_chunks_have_the_bits_of_every_machine_at_the_best_level) {
  for (const int64_t chunk : {1, 5}) expect_hashes(supported_cpu_levels().back(), chunk);
}
