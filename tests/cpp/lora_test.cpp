// Reading adapters: containers, names, patterns, orders of rows; and what merging makes of them.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "cpp/harness.h"
#include "cpp/lora_fixture.h"
#include "gguf/writer.h"
#include "lora/merge.h"
#include "lora/name_pattern.h"
#include "lora/names.h"
#include "lora/safetensors.h"

using namespace realm;
using test::AdapterMaker;
using test::contains;
using test::kVocab;
using test::kWidth;

namespace {

const std::shared_ptr<const lora::BaseLayout>& base() {
  static const auto layout = test::make_base();
  return layout;
}

std::string safetensors(const std::string& header, size_t data_bytes) {
  const uint64_t n = header.size();
  std::string file(reinterpret_cast<const char*>(&n), sizeof n);
  return file + header + std::string(data_bytes, '\1');
}

lora::Safetensors parse(const std::string& file) {
  return lora::parse_safetensors(std::as_bytes(std::span(file)), "file");
}

std::string refusal(const std::string& file) {
  return EXPECT_ERROR(kFormat, { parse(file); });
}

bool matches(const char* pattern, const char* name) {
  return lora::NamePattern(pattern).matches(name);
}

// Rows of the base's weight with `adapters` in it.
std::vector<float> merged(const std::string& name, const lora::ScaledAdapters& adapters) {
  const lora::Merge merge(base(), adapters);
  const lora::BaseTensor& tensor = base()->tensors()[*base()->find(name)];
  const int64_t rows = tensor.rows * tensor.n_matrices();
  std::vector<float> values(static_cast<size_t>(rows * tensor.cols));
  base()->decode_rows(tensor, 0, rows, values.data());
  merge.apply(name, 0, rows, values.data());
  return values;
}

std::vector<float> unmerged(const std::string& name) {
  return merged(name, {});
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(double{a[i]} - b[i]);
  return a.size() == b.size() ? sum : INFINITY;
}

// W + scale * B A by the definition, rows of B as `row_of` says.
template <class RowOf>
std::vector<float> by_definition(const std::string& name, const AdapterMaker& maker, int64_t r,
                                 float scale, RowOf row_of) {
  std::vector<float> values = unmerged(name);
  const lora::AdapterSource source = maker.source();
  const auto* a = reinterpret_cast<const float*>(source.tensors[0].bytes.data());
  const auto* b = reinterpret_cast<const float*>(source.tensors[1].bytes.data());
  const lora::BaseTensor& tensor = base()->tensors()[*base()->find(name)];
  for (int64_t row = 0; row < tensor.rows; ++row) {
    for (int64_t col = 0; col < tensor.cols; ++col) {
      for (int64_t j = 0; j < r; ++j) {
        values[static_cast<size_t>(row * tensor.cols + col)] +=
            scale * b[row_of(row) * r + j] * a[j * tensor.cols + col];
      }
    }
  }
  return values;
}

int64_t same_row(int64_t row) {
  return row;
}

// Of eight rows in two heads: transformers has the halves one after the other.
int64_t half_row(int64_t row) {
  return row / 4 * 4 + row % 2 * 2 + row % 4 / 2;
}

}  // namespace

// ---- safetensors

TEST(safetensors_are_read_in_the_order_of_their_data) {
  const auto file = safetensors(
      R"({"__metadata__":{"a":"b"},"y":{"dtype":"F16","shape":[2],"data_offsets":[8,12]},)"
      R"("x":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}   )",
      12);
  const auto read = parse(file);
  EXPECT_EQ(read.tensors.size(), size_t{2});
  EXPECT_EQ(read.tensors[0].name, std::string("x"));
  EXPECT_EQ(to_string(read.tensors[0].shape), std::string("[1, 2]"));
  EXPECT(read.tensors[1].dtype == DType::kF16);
  EXPECT_EQ(read.metadata.at("a"), std::string("b"));
}

TEST(tensors_that_overlap_leave_holes_or_leave_the_file_are_refused) {
  const auto two = [](const char* first, const char* second, size_t bytes) {
    return refusal(
        safetensors(concat(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":)", first,
                           R"(},"y":{"dtype":"F32","shape":[2],"data_offsets":)", second, "}}"),
                    bytes));
  };
  EXPECT(contains(two("[0,8]", "[4,12]", 16), "'y' begins at byte 4"));
  EXPECT(contains(two("[0,8]", "[0,8]", 8), "begins at byte 0"));
  EXPECT(contains(two("[0,8]", "[12,20]", 20), "begins at byte 12"));
  EXPECT(contains(two("[0,8]", "[8,16]", 17), "the last 1 bytes"));
  EXPECT(contains(two("[0,8]", "[8,16]", 15), "no range of the 15 bytes"));
  EXPECT(contains(two("[8,0]", "[8,16]", 16), "no range"));
  EXPECT(contains(two("[0,9]", "[9,17]", 17), "has 9 bytes"));
  EXPECT(contains(two("[0.0,8]", "[8,16]", 16), "data_offsets has 0"));
  EXPECT(contains(two("[-8,0]", "[8,16]", 16), "data_offsets has -8"));
}

TEST(headers_that_are_not_what_they_claim_are_refused) {
  EXPECT(contains(refusal(""), "within its length field"));
  EXPECT(contains(refusal(std::string(8, '\xff')), "the header's length at byte 0"));
  EXPECT(contains(refusal(safetensors("[]", 0)), "does not begin with '{'"));
  EXPECT(contains(refusal(safetensors("  {}", 0)), "does not begin with '{'"));
  EXPECT(contains(refusal(safetensors(R"({"x":1})", 0)), "must be an object"));
  EXPECT(contains(refusal(safetensors(R"({"__metadata__":{"a":1}})", 0)), "must be a text"));
  EXPECT(
      contains(refusal(safetensors(R"({"x":{"shape":[0],"data_offsets":[0,0]}})", 0)), "no dtype"));
  EXPECT(
      contains(refusal(safetensors(R"({"x":{"dtype":"F31","shape":[0],"data_offsets":[0,0]}})", 0)),
               "has the dtype 'F31'"));
  EXPECT(contains(
      refusal(safetensors(R"({"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"y":0}})", 0)),
      "members besides"));
  EXPECT(contains(
      refusal(safetensors(
          R"({"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0)),
      "too many elements"));
}

TEST(other_types_are_tensors_that_nobody_can_read) {
  const auto read =
      parse(safetensors(R"({"x":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}})", 4));
  EXPECT(contains(read.tensors[0].unreadable, "its type is I32"));
}

// ---- patterns

TEST(patterns_match_as_regular_expressions_do) {
  EXPECT(matches("q_proj", "q_proj"));
  EXPECT(!matches("q_proj", "xq_proj"));
  EXPECT(matches(".*\\.(q|v)_proj", "model.layers.0.self_attn.v_proj"));
  EXPECT(!matches(".*\\.(q|v)_proj", "model.layers.0.self_attn.k_proj"));
  EXPECT(matches("layers\\.[0-9]+\\.mlp", "layers.12.mlp"));
  EXPECT(!matches("layers\\.[0-9]+\\.mlp", "layers..mlp"));
  EXPECT(matches("a\\db?c*", "a1"));
  EXPECT(matches("a\\db?c*", "a1bccc"));
  EXPECT(matches("[^x-z]+", "abc"));
  EXPECT(!matches("[^x-z]+", "aby"));
  EXPECT(matches("^a(?:b|)$", "a"));
  EXPECT(matches("(a|b)*", ""));
}

TEST(a_pattern_made_to_explode_takes_no_time) {
  std::string pattern, name;
  for (int i = 0; i < 30; ++i) pattern += "(a*)*";
  name = std::string(2000, 'a') + "b";
  EXPECT(!lora::NamePattern(pattern).matches(name));
  EXPECT_ERROR(kFormat, { lora::NamePattern(std::string(100000, '(')); });
  EXPECT_ERROR(kFormat, { lora::NamePattern(std::string(100000, 'a')); });
}

TEST(pattern_keys_match_the_end_of_a_module_as_peft_reads_them) {
  const lora::NamePattern plain("q_proj"), anchored("^model.q_proj"), path("self_attn.q_proj");
  EXPECT(plain.matches_module("model.layers.0.self_attn.q_proj"));
  EXPECT(path.matches_module("model.layers.0.self_attn.q_proj"));
  EXPECT(!plain.matches_module("model.layers.0.self_attn.eq_proj"));
  EXPECT(!anchored.matches_module("x.model.q_proj"));
}

// ---- names

TEST(every_way_to_name_a_tensor_leads_to_it) {
  const auto place = [](const char* name) {
    const auto parsed = lora::parse_name(name);
    std::string reason;
    const auto found = parsed ? lora::find_place(*base(), parsed->module, reason) : std::nullopt;
    return found
               ? concat(base()->tensors()[found->tensor].name, " ", static_cast<int>(parsed->role),
                        found->is_transformers_order ? " outside" : "")
               : "nowhere";
  };
  const std::string a = "blk.1.attn_q 0", outside = a + " outside";
  EXPECT_EQ(place("base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"), outside);
  EXPECT_EQ(place("base_model.model.model.layers.1.self_attn.q_proj.lora_A.default.weight"),
            outside);
  EXPECT_EQ(place("model.layers.1.self_attn.q_proj.lora_A.weight"), outside);
  EXPECT_EQ(place("layers.1.self_attn.q_proj.lora_A"), outside);
  EXPECT_EQ(place("blk.1.attn_q.weight.lora_a"), a);
  EXPECT_EQ(place("layers.1.attention.wq.lora_a"), a);
  EXPECT_EQ(place("layers.1.attention.wq.lora_A.weight"), a);
  EXPECT_EQ(place("layer.1.attn_q.lora_a"), a);
  EXPECT_EQ(place("layers.1.ffn.up_proj.lora_b"), std::string("blk.1.ffn_up 1"));
  EXPECT_EQ(place("model.language_model.layers.1.mlp.up_proj.lora_B.weight"),
            std::string("blk.1.ffn_up 1 outside"));
  EXPECT_EQ(place("base_model.model.lm_head.lora_A.weight"), std::string("output 0 outside"));
  EXPECT_EQ(place("base_model.model.model.embed_tokens.lora_embedding_A"),
            std::string("token_embd 0 outside"));
  EXPECT_EQ(place("output.weight.lora_b"), std::string("output 1"));
  EXPECT_EQ(place("model.layers.1.mlp.experts.2.up_proj.lora_A.weight"),
            std::string("blk.1.ffn_up_exps 0 outside"));
}

// ---- what is made of them

TEST(factors_are_added_to_the_weight) {
  AdapterMaker maker;
  maker.add_pair("model.layers.0.mlp.up_proj", 12, 8);
  const auto ours = merged("blk.0.ffn_up", {{maker.build(*base()), 0.5f}});
  EXPECT(distance(ours, by_definition("blk.0.ffn_up", maker, 2, 0.5f, same_row)) < 1e-5);
  EXPECT(distance(ours, unmerged("blk.0.ffn_up")) > 1);
}

TEST(rows_in_transformers_order_follow_the_interleaved_heads) {
  AdapterMaker outside, inside;
  outside.add_pair("model.layers.0.self_attn.q_proj", 8, 8);
  inside.add_pair("layers.0.attention.wq", 8, 8);
  EXPECT(distance(merged("blk.0.attn_q", {{outside.build(*base()), 1.0f}}),
                  by_definition("blk.0.attn_q", outside, 2, 1, half_row)) < 1e-5);
  EXPECT(distance(merged("blk.0.attn_q", {{inside.build(*base()), 1.0f}}),
                  by_definition("blk.0.attn_q", inside, 2, 1, same_row)) < 1e-5);
}

TEST(scales_follow_alpha_rank_and_patterns) {
  const auto scale = [](const std::string& config) {
    AdapterMaker maker;
    maker.add_pair("model.layers.0.mlp.up_proj", 12, 8, 4);
    return maker.config(R"({"peft_type":"LORA","r":4,"lora_alpha":8)" + config + "}")
        .build(*base())
        ->report()
        .scale;
  };
  EXPECT_EQ(scale(""), 2.0);
  EXPECT_EQ(scale(R"(,"use_rslora":true)"), 4.0);
  EXPECT_EQ(scale(R"(,"alpha_pattern":{"up_proj":12})"), 3.0);
  EXPECT_EQ(scale(R"(,"alpha_pattern":{"layers.0.mlp.up_proj":6,"up_proj":12})"), 1.5);
  AdapterMaker bare;
  EXPECT_EQ(bare.add_pair("blk.0.ffn_up", 12, 8, 4).build(*base())->report().scale, 1.0);
  EXPECT_EQ(bare.add("blk.0.ffn_up.alpha", {}, {8.0f}).build(*base())->report().scale, 2.0);
}

TEST(a_composition_is_the_sum_of_its_changes) {
  AdapterMaker one, two;
  one.add_pair("model.layers.0.mlp.up_proj", 12, 8);
  two.add_pair("model.layers.0.mlp.up_proj", 12, 8, 3)
      .add("model.layers.0.mlp.up_proj.lora_magnitude_vector", {12});
  const auto a = one.build(*base()), b = two.build(*base());
  const auto zero = unmerged("blk.0.ffn_up"), only_a = merged("blk.0.ffn_up", {{a, 2.0f}}),
             only_b = merged("blk.0.ffn_up", {{b, 0.5f}}),
             both = merged("blk.0.ffn_up", {{a, 2.0f}, {b, 0.5f}});
  std::vector<float> sum(zero.size());
  for (size_t i = 0; i < sum.size(); ++i) sum[i] = only_a[i] + only_b[i] - zero[i];
  EXPECT(distance(both, sum) < 1e-3);
  EXPECT(distance(only_b, zero) > 1);
}

TEST(dora_gives_rows_their_magnitude) {
  AdapterMaker maker;
  maker.add_pair("model.layers.0.mlp.up_proj", 12, 8)
      .add("model.layers.0.mlp.up_proj.lora_magnitude_vector", {12});
  const std::vector<float> magnitude = maker.last_values();
  const auto values = merged("blk.0.ffn_up", {{maker.build(*base()), 1.0f}});
  for (size_t row = 0; row < 12; ++row) {
    double squares = 0;
    for (size_t c = 0; c < 8; ++c) squares += double{values[row * 8 + c]} * values[row * 8 + c];
    EXPECT(test::near(std::sqrt(squares), std::abs(magnitude[row]), 1e-5));
  }
}

TEST(one_expert_is_changed_and_the_others_are_not) {
  AdapterMaker maker;
  maker.add_pair("model.layers.1.mlp.experts.2.up_proj", 12, 8);
  const auto values = merged("blk.1.ffn_up_exps", {{maker.build(*base()), 1.0f}}),
             before = unmerged("blk.1.ffn_up_exps");
  const size_t n = 12 * 8;
  EXPECT(std::equal(before.begin(), before.begin() + 2 * n, values.begin()));
  EXPECT(!std::equal(before.begin() + 2 * n, before.end(), values.begin() + 2 * n));
}

TEST(a_bank_adapts_every_expert) {
  AdapterMaker bank, single;
  bank.add("blk.0.ffn_up_exps.weight.lora_a", {3, 2, 8})
      .add("blk.0.ffn_up_exps.weight.lora_b", {3, 12, 2});
  const auto adapter = bank.build(*base());
  EXPECT_EQ(adapter->deltas().size(), size_t{3});
  EXPECT_EQ(adapter->report().applied.size(), size_t{2});
}

TEST(embeddings_are_adapted_by_token_in_both_layouts) {
  AdapterMaker peft, gguf;
  peft.add("model.embed_tokens.lora_embedding_A", {2, kVocab})
      .add("model.embed_tokens.lora_embedding_B", {kWidth, 2});
  const auto values = merged("token_embd", {{peft.build(*base()), 1.0f}});
  const std::vector<float> a = std::vector<float>(
      reinterpret_cast<const float*>(peft.source().tensors[0].bytes.data()),
      reinterpret_cast<const float*>(peft.source().tensors[0].bytes.data()) + 2 * kVocab);
  std::vector<float> by_token(a.size());
  for (size_t t = 0; t < kVocab; ++t)
    for (size_t j = 0; j < 2; ++j) by_token[t * 2 + j] = a[j * kVocab + t];
  gguf.add("token_embd.weight.lora_a", {kVocab, 2}, by_token)
      .add("token_embd.weight.lora_b", {kWidth, 2});
  EXPECT_EQ(distance(values, merged("token_embd", {{gguf.build(*base()), 1.0f}})), 0.0);
  EXPECT(distance(values, unmerged("token_embd")) > 1);
  EXPECT(lora::Merge(base(), {{peft.build(*base()), 1.0f}}).unties());
}

TEST(a_copy_of_the_bases_embedding_is_no_change_and_another_is) {
  AdapterMaker maker;
  maker.add("model.embed_tokens.lora_embedding_A", {2, kVocab})
      .add("model.embed_tokens.lora_embedding_B", {kWidth, 2});
  maker.add("model.embed_tokens.base_layer.weight", {kVocab, kWidth}, unmerged("token_embd"));
  EXPECT_EQ(maker.build(*base())->saved().size(), size_t{0});
  EXPECT_EQ(maker.build(*base())->report().applied[2].part, std::string("base copy"));
  maker.last_values()[3] += 1;
  EXPECT_EQ(maker.build(*base())->saved().size(), size_t{1});
}

TEST(biases_are_added_or_replaced) {
  AdapterMaker maker;
  maker.add("model.layers.0.self_attn.v_proj.bias", {8})
      .config(R"({"peft_type":"LORA","r":2,"lora_alpha":2,"bias":"all"})");
  const lora::Merge whole(base(), {{maker.build(*base()), 1.0f}});
  EXPECT_EQ(distance(*whole.bias("blk.0.attn_v"), maker.last_values()), 0.0);
  AdapterMaker added;
  added.add_pair("model.layers.0.self_attn.o_proj", 8, 8)
      .add("model.layers.0.self_attn.o_proj.lora_B.bias", {8});
  added.config(R"({"peft_type":"LORA","r":2,"lora_alpha":4,"lora_bias":true})");
  const lora::Merge sum(base(), {{added.build(*base()), 0.5f}});
  EXPECT_EQ(distance(*sum.bias("blk.0.attn_output"), added.last_values()), 0.0);  // 4 / 2 * 0.5
  EXPECT(!sum.bias("blk.0.attn_v"));
}

TEST(factors_are_kept_in_sixteen_bits_where_that_is_exact) {
  AdapterMaker halves;
  halves.add_pair("model.layers.0.mlp.up_proj", 12, 8);
  const auto adapter = halves.build(*base());
  EXPECT(adapter->deltas()[0].right.dtype() == DType::kBF16);
  halves.last_values()[1] = 1.0f + 0x1p-10f;
  EXPECT(halves.build(*base())->deltas()[0].left.dtype() == DType::kF16);
  halves.last_values()[1] = 1.0f + 0x1p-20f;
  EXPECT(halves.build(*base())->deltas()[0].left.dtype() == DType::kF32);
}

TEST(identity_is_of_the_contents) {
  AdapterMaker maker, renamed;
  maker.add_pair("model.layers.0.mlp.up_proj", 12, 8);
  renamed.add("blk.0.ffn_up.lora_a", {2, 8}).add("blk.0.ffn_up.lora_b", {12, 2});
  const auto identity = [](const AdapterMaker& one) {
    return to_hex(one.build(*base())->identity());
  };
  const std::string first = identity(maker);
  EXPECT_EQ(first, identity(renamed));
  maker.config(R"({"peft_type":"LORA","r":2,"lora_alpha":4})");
  EXPECT(first != identity(maker));
  renamed.last_values()[3] += 1;
  EXPECT(first != identity(renamed));
}

// ---- files

TEST(a_checkpoint_that_runs_programs_is_refused_with_advice) {
  const std::string folder = "lora_test_folder";
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/adapter_config.json") << R"({"peft_type":"LORA","r":2,"lora_alpha":2})";
  EXPECT(contains(EXPECT_ERROR(kAdapter, { lora::open_adapter(folder); }),
                  "has no adapter_model.safetensors"));
  std::ofstream(folder + "/adapter_model.bin") << "PK";
  EXPECT(
      contains(EXPECT_ERROR(kAdapter, { lora::open_adapter(folder); }), "safe_serialization=True"));
  std::ofstream(folder + "/pickled") << "PK\3\4 and more";
  EXPECT(contains(EXPECT_ERROR(kAdapter, { lora::open_adapter(folder + "/pickled"); }),
                  "pickled checkpoint"));
  std::filesystem::remove(folder + "/adapter_config.json");
  std::ofstream(folder + "/adapter_model.safetensors") << safetensors("{}", 0);
  EXPECT(contains(EXPECT_ERROR(kAdapter, { lora::open_adapter(folder); }),
                  "has no adapter_config.json"));
  EXPECT_EQ(lora::open_adapter(folder + "/adapter_model.safetensors").tensors.size(), size_t{0});
  std::filesystem::remove_all(folder);
  EXPECT_ERROR(kIo, { lora::open_adapter("no such adapter"); });
}

TEST(gguf_adapters_say_what_they_are) {
  const auto with = [](std::initializer_list<std::pair<const char*, gguf::Value>> keys) {
    gguf::Metadata metadata;
    for (const auto& [key, value] : keys) metadata.set(key, value);
    const auto bytes = std::make_shared<std::vector<std::byte>>(gguf::gguf_bytes(metadata, {}));
    return lora::adapter_from_bytes(*bytes, bytes);
  };
  const auto refused = [&](std::initializer_list<std::pair<const char*, gguf::Value>> keys) {
    return EXPECT_ERROR(kAdapter, { with(keys); });
  };
  EXPECT(contains(refused({{"general.architecture", "llama"}}), "general.type is missing"));
  EXPECT(contains(refused({{"general.type", "model"}}), "general.type is 'model'"));
  EXPECT(contains(
      refused(
          {{"general.type", "adapter"}, {"adapter.type", "lora"}, {"general.architecture", ""}}),
      "general.architecture is empty"));
  EXPECT(contains(refused({{"general.type", "adapter"}, {"adapter.type", "control_vector"}}),
                  "only 'lora'"));
  EXPECT(contains(refused({{"general.type", "adapter"},
                           {"adapter.type", "lora"},
                           {"general.architecture", "llama"}}),
                  "adapter.lora.alpha is missing"));
  EXPECT(contains(refused({{"general.type", "adapter"},
                           {"adapter.type", "lora"},
                           {"general.architecture", "llama"},
                           {"adapter.lora.alpha", NAN}}),
                  "adapter.lora.alpha is nan"));
  EXPECT(contains(refused({{"general.type", "adapter"},
                           {"adapter.type", "lora"},
                           {"general.architecture", "llama"},
                           {"adapter.alora.invocation_tokens", gguf::Array::of<uint32_t>({1})}}),
                  "activated LoRA"));
  const auto source = with({{"general.type", "adapter"},
                            {"adapter.type", "lora"},
                            {"general.architecture", "llama"},
                            {"adapter.lora.alpha", 16.0f}});
  EXPECT_EQ(source.config.scale_of("blk.0.attn_q", 8), 2.0);
  EXPECT_EQ(source.architecture, std::string("llama"));
}
