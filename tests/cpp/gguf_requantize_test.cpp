// The file quantizer: which format each tensor gets, and what becomes of its values.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/half.h"
#include "cpp/harness.h"
#include "gguf/mixes.h"
#include "gguf/reader.h"
#include "gguf/requantize.h"
#include "gguf/writer.h"
#include "quant/formats.h"

using namespace realm;
using namespace realm::gguf;
using test::contains;
namespace fs = std::filesystem;

namespace {

const std::string kTiny = REALM_GOLDEN_DIR "/gguf/tiny.gguf";
const std::string kF16 = REALM_GOLDEN_DIR "/quant/F16.gguf";

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct OutPath {
  std::string path;
  explicit OutPath(const char* name) : path(concat("gguf_requantize_test_", name, ".gguf")) {}
  ~OutPath() { fs::remove(path); }
};

RequantizeOptions to(const char* target) {
  RequantizeOptions options;
  options.target = target;
  options.n_threads = 2;
  return options;
}

std::vector<float> decoded(const GgufFile& file, const std::string& name) {
  const TensorInfo& info = *file.find(name);
  std::vector<float> out(info.shape.elements());
  file.read_f32(info, out.data());
  return out;
}

// A smooth function of the position, so that a misplaced chunk shows.
std::vector<float> ramp(uint64_t n) {
  std::vector<float> values(n);
  for (uint64_t i = 0; i < n; ++i) values[i] = std::sin(static_cast<float>(i % 8191) * 0.37f);
  return values;
}

void write_f32(const std::string& path, const std::string& name, const Shape& shape,
               const std::vector<float>& values) {
  Metadata metadata;
  metadata.set("general.architecture", "llama");
  const TensorData tensors[] = {{{name, DType::kF32, shape}, std::as_bytes(std::span(values))}};
  write_gguf(path, metadata, tensors);
}

// ---- planning
// -------------------------------------------------------------------------------------------

struct Model {
  Metadata metadata;
  std::vector<TensorInfo> tensors;

  void add(std::string name, const Shape& shape) {
    tensors.push_back({std::move(name), DType::kF32, shape, 0, 0, 0});
  }
};

Model llama(uint32_t n_layers, uint32_t heads = 8, uint32_t kv_heads = 8, uint32_t experts = 0) {
  Model model;
  model.metadata.set("general.architecture", "llama");
  model.metadata.set("llama.block_count", n_layers);
  model.metadata.set("llama.attention.head_count", heads);
  model.metadata.set("llama.attention.head_count_kv", kv_heads);
  model.metadata.set("llama.expert_count", experts);
  model.add("token_embd.weight", {32, 256});
  for (uint32_t i = n_layers; i-- > 0;) {  // from the last: the rules must not depend on file order
    const std::string layer = concat("blk.", i, ".");
    for (const char* part : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"}) {
      model.add(layer + part + ".weight", {256, 256});
    }
    model.add(layer + "attn_norm.weight", {256});
    model.add(layer + "ffn_gate_inp.weight", {8, 256});
    model.add(layer + "attn_q.bias", {256});
  }
  model.add("output_norm.weight", {256});
  model.add("output.weight", {32, 256});
  return model;
}

std::string format_in(const Model& model, const char* mix, const std::string& name,
                      bool pure = false) {
  const auto plan = plan_mix(*find_mix(mix), pure, model.metadata, model.tensors);
  for (size_t i = 0; i < plan.size(); ++i) {
    if (model.tensors[i].name == name) return format_of(plan[i]).name;
  }
  return "no such tensor";
}

// The layers whose tensor of that kind gets `format`: "0 1 4 ".
std::string layers_with(const char* format, const Model& model, const char* mix, const char* part,
                        uint32_t n_layers) {
  std::string layers;
  for (uint32_t i = 0; i < n_layers; ++i) {
    const std::string name = concat("blk.", i, ".", part, ".weight");
    if (format_in(model, mix, name) == format) layers += concat(i, " ");
  }
  return layers;
}

}  // namespace

TEST(plans_equal_the_reference_quantizers_for_every_golden_file) {
  const auto source = GgufFile::open(kF16);
  size_t n_compared = 0;
  for (const Mix& mix : all_mixes()) {
    const std::string path = concat(REALM_GOLDEN_DIR "/quant/", mix.name, ".gguf");
    if (!fs::exists(path)) continue;
    const auto golden = GgufFile::open(path);
    const auto plan = plan_mix(mix, false, source->metadata(), source->tensors());
    for (size_t i = 0; i < plan.size(); ++i) {
      const TensorInfo& info = source->tensors()[i];
      EXPECT_EQ(
          concat(mix.name, " ", info.name, " ", format_of(plan[i]).name),
          concat(mix.name, " ", info.name, " ", format_of(golden->find(info.name)->dtype).name));
      ++n_compared;
    }
    EXPECT_EQ(*golden->metadata().find("general.file_type")->unsigned_integer(), mix.file_type);
  }
  EXPECT(n_compared > 200);
}

TEST(a_medium_mix_spends_more_bits_at_the_ends_and_on_every_third_layer) {
  const Model model = llama(16);
  EXPECT_EQ(layers_with("Q6_K", model, "Q4_K_M", "attn_v", 16), "0 1 4 7 10 13 14 15 ");
  EXPECT_EQ(layers_with("Q6_K", model, "Q5_K_M", "ffn_down", 16), "0 1 4 7 10 13 14 15 ");
  EXPECT_EQ(layers_with("Q5_K", model, "Q4_K_S", "attn_v", 16), "0 1 2 3 ");
  EXPECT_EQ(layers_with("Q5_K", model, "Q4_K_S", "ffn_down", 16), "0 1 ");
  EXPECT_EQ(layers_with("Q5_K", model, "Q3_K_M", "ffn_down", 16), "0 ");
  EXPECT_EQ(format_in(model, "Q4_K_M", "blk.3.attn_q.weight"), "Q4_K");
  EXPECT_EQ(format_in(model, "Q2_K", "blk.3.attn_output.weight"), "Q3_K");
}

TEST(the_output_head_gets_six_bits_and_a_tied_embedding_stands_for_it) {
  Model model = llama(2);
  EXPECT_EQ(format_in(model, "Q4_0", "output.weight"), "Q6_K");
  EXPECT_EQ(format_in(model, "Q4_0", "token_embd.weight"), "Q4_0");
  EXPECT_EQ(format_in(model, "Q8_0", "output.weight"), "Q8_0");
  EXPECT_EQ(format_in(model, "Q4_0", "output.weight", true), "Q4_0");
  model.tensors.pop_back();
  EXPECT_EQ(format_in(model, "Q4_K_M", "token_embd.weight"), "Q6_K");
}

TEST(norms_biases_gates_and_single_rows_keep_their_format) {
  Model model = llama(1);
  model.add("blk.0.one_row.weight", {1, 256});
  model.add("blk.0.matrix_of_another_kind", {2, 256});
  for (const char* target : {"Q4_K_M", "F16"}) {
    EXPECT_EQ(format_in(model, target, "blk.0.attn_norm.weight"), "F32");
    EXPECT_EQ(format_in(model, target, "blk.0.attn_q.bias"), "F32");
    EXPECT_EQ(format_in(model, target, "blk.0.ffn_gate_inp.weight"), "F32");
    EXPECT_EQ(format_in(model, target, "blk.0.one_row.weight"), "F32");
    EXPECT_EQ(format_in(model, target, "blk.0.matrix_of_another_kind"), "F32");
  }
}

TEST(mixtures_of_eight_experts_keep_attention_precise) {
  const Model model = llama(9, 8, 8, 8);
  EXPECT_EQ(format_in(model, "Q4_K_M", "blk.2.attn_v.weight"), "Q8_0");
  EXPECT_EQ(format_in(model, "Q4_K_M", "blk.2.attn_k.weight"), "Q8_0");
  EXPECT_EQ(format_in(model, "Q4_K_M", "blk.2.attn_output.weight"), "Q5_K");
  EXPECT_EQ(format_in(model, "Q3_K_L", "blk.2.attn_output.weight"), "Q3_K");
}

TEST(shared_key_heads_raise_attention_v) {
  EXPECT_EQ(format_in(llama(4, 8, 2), "Q2_K", "blk.2.attn_v.weight"), "Q4_K");
  EXPECT_EQ(format_in(llama(4, 8, 8), "Q2_K", "blk.2.attn_v.weight"), "Q3_K");
  EXPECT_EQ(format_in(llama(4, 8, 2), "IQ4_XS", "blk.2.attn_v.weight"), "Q5_K");
  EXPECT_EQ(format_in(llama(80, 8, 1), "Q4_K_S", "blk.40.attn_v.weight"), "Q5_K");
}

TEST(rows_that_are_not_whole_blocks_fall_back) {
  Model model;
  model.add("a.weight", {4, 288});
  model.add("b.weight", {4, 40});
  const std::pair<const char*, const char*> expected[] = {
      {"Q2_K", "Q4_0"}, {"Q3_K_S", "Q4_0"},   {"Q4_K_M", "Q5_0"}, {"Q5_K_M", "Q5_1"},
      {"Q6_K", "Q8_0"}, {"IQ4_XS", "IQ4_NL"}, {"Q4_0", "Q4_0"},   {"BF16", "BF16"}};
  for (const auto& [mix, format] : expected) EXPECT_EQ(format_in(model, mix, "a.weight"), format);
  EXPECT_EQ(format_in(model, "Q4_K_M", "b.weight"), "F16");
  EXPECT_EQ(format_in(model, "Q8_0", "b.weight"), "F16");
}

TEST(targets_are_found_by_any_case_and_by_their_short_names) {
  EXPECT_EQ(std::string(find_mix("q4_k_m")->name), "Q4_K_M");
  EXPECT_EQ(std::string(find_mix("Q5_K")->name), "Q5_K_M");
  EXPECT(find_mix("Q4") == nullptr);
  EXPECT(find_mix("") == nullptr);
  for (const Mix& mix : all_mixes()) EXPECT(format_of(mix.base).encode != nullptr);
}

// ---- converting
// -----------------------------------------------------------------------------------------

TEST(every_target_makes_a_readable_file_near_its_source) {
  const auto source = GgufFile::open(kF16);
  for (const Mix& mix : all_mixes()) {
    const OutPath out("every");
    const RequantizeReport report = requantize(kF16, out.path, to(mix.name));
    const auto file = GgufFile::open(out.path);
    EXPECT_EQ(*file->metadata().find("general.file_type")->unsigned_integer(), mix.file_type);
    EXPECT_EQ(*file->metadata().find("general.quantization_version")->unsigned_integer(), 2u);
    EXPECT_EQ(report.tensors.size(), source->tensors().size());
    uint64_t bytes_out = 0;
    for (size_t i = 0; i < report.tensors.size(); ++i) {
      const RequantizedTensor& tensor = report.tensors[i];
      EXPECT_EQ(tensor.name, file->tensors()[i].name);
      EXPECT(tensor.to == file->tensors()[i].dtype);
      EXPECT_EQ(tensor.bytes_out, file->tensors()[i].bytes);
      EXPECT(tensor.relative_error < 0.35);
      bytes_out += file->tensors()[i].bytes;
    }
    EXPECT_EQ(report.bytes_out, bytes_out);
  }
}

TEST(the_reported_error_is_the_error_in_the_file) {
  const OutPath out("error");
  const RequantizeReport report = requantize(kF16, out.path, to("Q4_K_M"));
  const auto source = GgufFile::open(kF16);
  const auto file = GgufFile::open(out.path);
  for (const RequantizedTensor& tensor : report.tensors) {
    const auto before = decoded(*source, tensor.name);
    const auto after = decoded(*file, tensor.name);
    double squared_error = 0, squared = 0;
    for (size_t i = 0; i < before.size(); ++i) {
      squared_error += std::pow(double{after[i]} - before[i], 2);
      squared += std::pow(double{before[i]}, 2);
    }
    const double rms = std::sqrt(squared_error / static_cast<double>(before.size()));
    EXPECT(test::near(tensor.rms_error, rms, 1e-9 * rms));
    EXPECT(test::near(tensor.relative_error, std::sqrt(squared_error / squared), 1e-9));
    EXPECT((tensor.from == tensor.to) == (tensor.rms_error == 0));
  }
}

TEST(the_bytes_do_not_depend_on_threads_and_equal_one_encoding_of_the_whole) {
  const OutPath in("threads_in"), one("one"), three("three");
  const Shape shape{1031, 1024};  // several batches of chunks, the last one short
  const auto values = ramp(shape.elements());
  write_f32(in.path, "blk.0.ffn_up.weight", shape, values);
  RequantizeOptions options = to("Q4_0");
  options.n_threads = 1;
  requantize(in.path, one.path, options);
  options.n_threads = 3;
  options.measure_error = false;
  requantize(in.path, three.path, options);
  EXPECT(slurp(one.path) == slurp(three.path));
  const Format& q4_0 = format_of(DType::kQ4_0);
  std::vector<std::byte> whole(*tensor_bytes(q4_0, shape));
  encode(q4_0, values.data(), whole.data(), values.size());
  const auto file = GgufFile::open(one.path);
  EXPECT(std::ranges::equal(file->view(file->tensors()[0]), whole));
}

TEST(progress_counts_up_to_the_whole_input) {
  const OutPath out("progress");
  RequantizeOptions options = to("Q8_0");
  uint64_t last = 0, total = 0;
  options.progress = [&](uint64_t done, uint64_t of) {
    EXPECT(done > last && done <= of);
    last = done;
    total = of;
    return true;
  };
  const RequantizeReport report = requantize(kF16, out.path, options);
  EXPECT_EQ(last, total);
  EXPECT_EQ(total, report.bytes_in);
}

TEST(cancelling_leaves_what_was_there) {
  const OutPath out("cancel");
  std::ofstream(out.path) << "what was there";
  RequantizeOptions options = to("Q4_K_M");
  options.progress = [](uint64_t done, uint64_t total) { return done < total / 2; };
  EXPECT(contains(EXPECT_ERROR(kCancelled, { requantize(kF16, out.path, options); }), "cancelled"));
  EXPECT_EQ(slurp(out.path), "what was there");
  for (const auto& entry : fs::directory_iterator(".")) {
    EXPECT(!contains(entry.path().string(), "cancel.gguf.partial"));
  }
}

TEST(a_file_may_be_quantized_onto_itself) {
  const OutPath path("itself"), other("other");
  fs::copy_file(kF16, path.path);
  requantize(path.path, path.path, to("Q4_0"));
  requantize(kF16, other.path, to("Q4_0"));
  EXPECT(slurp(path.path) == slurp(other.path));
}

TEST(quantized_weights_are_quantized_again_only_on_request) {
  const OutPath q8("q8"), q4("q4"), f32("f32");
  requantize(kF16, q8.path, to("Q8_0"));
  RequantizeOptions options = to("Q4_0");
  const auto message = EXPECT_ERROR(kInvalidRequest, { requantize(q8.path, q4.path, options); });
  EXPECT(contains(message, "allow_requantize"));
  EXPECT(!fs::exists(q4.path));
  options.allow_requantize = true;
  requantize(q8.path, q4.path, options);
  EXPECT(fs::exists(q4.path));
  requantize(q8.path, f32.path, to("F32"));  // decoding adds no error
  const auto a = GgufFile::open(q8.path), b = GgufFile::open(f32.path);
  EXPECT(decoded(*a, "blk.0.attn_q.weight") == decoded(*b, "blk.0.attn_q.weight"));
}

TEST(a_value_that_is_not_finite_is_refused_with_its_place) {
  const OutPath in("nan"), out("nan_out");
  auto values = ramp(512 * 1024);
  values[300000] = std::numeric_limits<float>::quiet_NaN();
  write_f32(in.path, "blk.0.ffn_up.weight", {512, 1024}, values);
  const auto message = EXPECT_ERROR(kFormat, { requantize(in.path, out.path, to("Q8_0")); });
  EXPECT(contains(message, "'blk.0.ffn_up.weight': value #300000 is nan"));
  EXPECT(!fs::exists(out.path));
  requantize(in.path, out.path, to("BF16"));  // which can hold it
  EXPECT(std::isnan(decoded(*GgufFile::open(out.path), "blk.0.ffn_up.weight")[300000]));
}

TEST(a_split_model_becomes_one_file) {
  const OutPath whole("whole"), split("split");
  RequantizeOptions options = to("F16");
  requantize(kTiny, whole.path, options);
  requantize(REALM_GOLDEN_DIR "/gguf/split-00001-of-00003.gguf", split.path, options);
  EXPECT(slurp(whole.path) == slurp(split.path));
  EXPECT(GgufFile::open(split.path)->metadata().find("split.count") == nullptr);
}

TEST(an_unknown_target_lists_the_known_ones) {
  const auto message = EXPECT_ERROR(kInvalidRequest, { requantize(kTiny, "x.gguf", to("Q9")); });
  EXPECT(contains(message, "'Q9'") && contains(message, "Q4_K_M") && contains(message, "BF16"));
  EXPECT_ERROR(kIo, { requantize("no such file", "x.gguf", to("Q8_0")); });
}
