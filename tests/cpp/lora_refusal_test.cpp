// One test for each reason to refuse an adapter, or a tensor of one.
#include <cmath>

#include "cpp/harness.h"
#include "cpp/lora_fixture.h"
#include "lora/merge.h"

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

constexpr const char* kUp = "base_model.model.model.layers.0.mlp.up_proj";
constexpr uint64_t kUpRows = test::kFeedForward;

AdapterMaker good() {
  AdapterMaker maker;
  maker.add_pair(kUp, kUpRows, kWidth);
  return maker;
}

std::string refusal(const AdapterMaker& maker, const lora::BuildOptions& options = {}) {
  return EXPECT_ERROR(kAdapter, { maker.build(*base(), options); });
}

// A configuration with some of its members replaced or added.
std::string config_with(const std::string& more) {
  return R"({"peft_type":"LORA","lora_alpha":4,)" + more + "}";
}

std::string config_refusal(const std::string& more) {
  return EXPECT_ERROR(kAdapter, { lora::parse_adapter_config(config_with(more)); });
}

bool config_is_refused(const std::string& more, const char* why) {
  return contains(config_refusal(more), why);
}

bool is_refused(const AdapterMaker& maker, const char* why) {
  return contains(refusal(maker), why);
}

}  // namespace

TEST(a_whole_adapter_is_accepted) {
  const auto adapter = good().build(*base());
  EXPECT_EQ(adapter->report().applied.size(), size_t{2});
  EXPECT_EQ(adapter->report().refused.size(), size_t{0});
  EXPECT_EQ(adapter->report().applied[0].base, std::string("blk.0.ffn_up.weight"));
  EXPECT_EQ(adapter->report().rank, int64_t{2});
  EXPECT_EQ(adapter->report().content_hash.size(), size_t{64});
}

// ---- names

TEST(a_name_that_is_no_adapters_is_refused) {
  EXPECT(is_refused(good().add("optimizer.state", {2}), "no part of an adapter"));
}

TEST(a_module_that_the_base_does_not_have_is_refused) {
  EXPECT(is_refused(good().add_pair("model.layers.0.mlp.gate_proj", kUpRows, kWidth),
                    "this base (llama) has no such module"));
  EXPECT(is_refused(good().add_pair("model.layers.0.nope.q_proj", 8, 8), "known to no table"));
}

TEST(a_layer_beyond_the_base_is_refused) {
  EXPECT(is_refused(good().add_pair("model.layers.2.mlp.up_proj", kUpRows, kWidth),
                    "has 2 layers, no layer 2"));
  EXPECT(is_refused(good().add_pair("model.layers.-1.mlp.up_proj", kUpRows, kWidth), "no table"));
  EXPECT(is_refused(good().add_pair("model.layers.01.mlp.up_proj", kUpRows, kWidth), "no table"));
  EXPECT(is_refused(good().add_pair("model.layers.18446744073709551616.mlp.up_proj", 12, 8),
                    "no table"));
}

TEST(an_expert_beyond_the_base_is_refused) {
  EXPECT(is_refused(good().add_pair("model.layers.0.mlp.experts.3.up_proj", kUpRows, kWidth),
                    "has 3 experts, no expert 3"));
}

TEST(a_bank_of_other_experts_is_refused) {
  AdapterMaker maker;
  maker.add("blk.0.ffn_up_exps.weight.lora_a", {2, 2, 8});
  maker.add("blk.0.ffn_up_exps.weight.lora_b", {2, 12, 2});
  EXPECT(is_refused(maker, "is no bank of 3 experts"));
}

TEST(two_names_for_one_tensor_are_refused) {
  EXPECT(is_refused(good().add_pair("blk.0.ffn_up", kUpRows, kWidth), "under another name too"));
}

TEST(two_tensors_for_one_part_are_refused) {
  EXPECT(is_refused(good().add("model.layers.0.mlp.up_proj.lora_A.default.weight", {2, 8}),
                    "two tensors that say the same"));
}

TEST(a_name_given_twice_is_refused) {
  EXPECT_ERROR(kFormat, { good().add(std::string(kUp) + ".lora_A.weight", {2, 8}).source(); });
}

// ---- values and shapes

TEST(values_that_are_not_finite_are_refused) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    AdapterMaker maker = good();
    maker.last_values()[5] = bad;
    EXPECT(is_refused(maker, "value #5 is"));
  }
}

TEST(a_type_that_is_not_read_is_refused) {
  AdapterMaker maker = good();
  maker.last().unreadable = "its type is I32";
  EXPECT(is_refused(maker, "its type is I32"));
}

TEST(one_factor_without_the_other_is_refused) {
  EXPECT(is_refused(AdapterMaker().add(std::string(kUp) + ".lora_A.weight", {2, 8}),
                    "lora_B of the module is missing"));
  EXPECT(is_refused(AdapterMaker().add(std::string(kUp) + ".lora_B.weight", {12, 2}),
                    "lora_A of the module is missing"));
}

TEST(factors_of_other_shapes_are_refused) {
  EXPECT(is_refused(AdapterMaker().add_pair(kUp, kUpRows, kWidth + 1), "do not fit the base's"));
  EXPECT(is_refused(AdapterMaker().add_pair(kUp, kUpRows + 1, kWidth), "do not fit the base's"));
  AdapterMaker ranks;
  ranks.add(std::string(kUp) + ".lora_A.weight", {2, 8})
      .add(std::string(kUp) + ".lora_B.weight", {12, 3});
  EXPECT(is_refused(ranks, "do not fit the base's"));
  AdapterMaker flat;
  flat.add(std::string(kUp) + ".lora_A.weight", {16})
      .add(std::string(kUp) + ".lora_B.weight", {12, 2});
  EXPECT(is_refused(flat, "factors have two extents"));
  EXPECT(is_refused(AdapterMaker().add_pair("model.embed_tokens", 8, 11), "do not fit the base's"));
}

TEST(a_rank_of_zero_or_beyond_reason_is_refused) {
  EXPECT(is_refused(AdapterMaker().add_pair(kUp, kUpRows, kWidth, 0), "the rank is 0"));
  EXPECT(is_refused(AdapterMaker().add_pair(kUp, kUpRows, kWidth, 4097), "the rank is 4097"));
}

TEST(factors_for_a_norm_are_refused) {
  EXPECT(
      is_refused(AdapterMaker().add_pair("model.layers.0.input_layernorm", 8, 1), "is no matrix"));
}

TEST(an_alpha_that_is_no_number_is_refused) {
  EXPECT(is_refused(good().add(std::string(kUp) + ".alpha", {2}), "alpha is no single number"));
  AdapterMaker huge;
  huge.add_pair(kUp, kUpRows, kWidth, 1).add(std::string(kUp) + ".alpha", {1}, {3e38f});
  EXPECT_EQ(huge.build(*base())->report().rank, int64_t{1});
}

TEST(parts_without_factors_are_refused) {
  for (const char* part : {".lora_magnitude_vector", ".lora_B.bias", ".alpha"}) {
    EXPECT(is_refused(AdapterMaker().add(std::string(kUp) + part, {12}), "no lora_A and lora_B"));
  }
}

TEST(a_vector_of_another_length_is_refused) {
  EXPECT(is_refused(good().add(std::string(kUp) + ".lora_magnitude_vector", {11}),
                    "does not fit the 12 outputs"));
}

TEST(a_direction_of_no_length_is_refused) {
  AdapterMaker maker;
  std::vector<float> a(8, 0), b(8, 0);
  // The first row of the adapted weight is zero: W + B A with B = e0, A = -row 0 of W.
  for (int64_t c = 0; c < 8; ++c) {
    a[static_cast<size_t>(c)] =
        -test::base_value(base()->tensors()[*base()->find("blk.0.attn_v")], 0, c);
  }
  b[0] = 1;
  const std::string v = "model.layers.0.self_attn.v_proj";
  maker.add(v + ".lora_A.weight", {1, 8}, a).add(v + ".lora_B.weight", {8, 1}, b);
  maker.add(v + ".lora_magnitude_vector", {8});
  EXPECT(is_refused(maker, "row 0 of the adapted weight has length 0"));
}

TEST(what_an_embedding_cannot_have_is_refused) {
  AdapterMaker maker;
  maker.add("model.embed_tokens.lora_embedding_A", {2, kVocab});
  maker.add("model.embed_tokens.lora_embedding_B", {kWidth, 2});
  maker.add("model.embed_tokens.lora_magnitude_vector", {kWidth});
  EXPECT(is_refused(maker, "an embedding has no bias and no magnitude"));
}

// ---- saved modules

TEST(a_saved_weight_of_another_shape_is_refused) {
  EXPECT(is_refused(AdapterMaker().add("lm_head.weight", {kVocab + 1, kWidth}), "does not fit"));
}

TEST(a_saved_weight_beside_factors_is_refused) {
  EXPECT(
      is_refused(good().add(std::string(kUp) + ".weight", {12, 8}), "factors and a saved weight"));
}

TEST(what_can_only_be_merged_is_refused_on_the_fly) {
  AdapterMaker norm = good();
  norm.add("model.layers.0.input_layernorm.weight", {8});
  EXPECT(is_refused(norm, "a saved norm can only be merged"));
  EXPECT_EQ(norm.build(*base(), {.strict = true, .on_the_fly = false})->saved().size(), size_t{1});
  AdapterMaker expert = good();
  expert.add("model.layers.0.mlp.experts.1.up_proj.weight", {12, 8});
  EXPECT(is_refused(expert, "a saved expert can only be merged"));
}

TEST(a_saved_bias_of_a_norm_is_refused) {
  EXPECT(is_refused(good().add("model.layers.0.input_layernorm.bias", {8}), "bias of a norm"));
}

// ---- the configuration

TEST(another_kind_of_adapter_is_refused) {
  EXPECT(contains(
      EXPECT_ERROR(kAdapter,
                   { lora::parse_adapter_config(R"({"peft_type":"IA3","r":2,"lora_alpha":2})"); }),
      "peft_type is 'IA3', only 'LORA'"));
  EXPECT(
      contains(EXPECT_ERROR(kAdapter, { lora::parse_adapter_config(R"({"r":2,"lora_alpha":2})"); }),
               "peft_type is missing"));
}

TEST(a_configuration_that_is_no_object_is_refused) {
  EXPECT(
      contains(EXPECT_ERROR(kFormat, { lora::parse_adapter_config("[]"); }), "must be an object"));
  EXPECT_ERROR(kFormat, { lora::parse_adapter_config("{"); });
}

TEST(factors_over_a_changed_base_are_refused) {
  for (const char* init : {"pissa", "pissa_niter_16", "olora", "loftq", "corda", "lora_ga"}) {
    EXPECT(config_is_refused(R"("r":2,"init_lora_weights":")" + std::string(init) + "\"",
                             "changes the base's weights"));
  }
  lora::parse_adapter_config(config_with(R"("r":2,"init_lora_weights":"gaussian")"));
}

TEST(ranks_and_alphas_that_cannot_be_are_refused) {
  EXPECT(config_is_refused(R"("task_type":"CAUSAL_LM")", "r is missing"));
  for (const char* r : {"0", "-1", "4097", "2.5", "\"8\"", "[8]"}) {
    EXPECT(config_is_refused(R"("r":)" + std::string(r), "must be 1 to 4096"));
  }
  const auto alpha = [](const char* text) {
    return EXPECT_ERROR(kAdapter, {
      lora::parse_adapter_config(R"({"peft_type":"LORA","r":2)" + std::string(text) + "}");
    });
  };
  EXPECT(contains(alpha(""), "lora_alpha is missing"));
  EXPECT(contains(alpha(R"(,"lora_alpha":"16")"), "must be a number"));
  EXPECT(contains(alpha(R"(,"lora_alpha":1e300)"), "must be a number"));
}

TEST(options_of_the_wrong_kind_are_refused) {
  EXPECT(config_is_refused(R"("r":2,"use_dora":1)", "must be true or false"));
  EXPECT(config_is_refused(R"("r":2,"bias":"some")", "must be 'none', 'all' or 'lora_only'"));
  EXPECT(config_is_refused(R"("r":2,"target_modules":7)", "must be an array of names"));
  EXPECT(config_is_refused(R"("r":2,"modules_to_save":[7])", "must be a name"));
  EXPECT(config_is_refused(R"("r":2,"layers_to_transform":"all")", "must be layer numbers"));
  EXPECT(config_is_refused(R"("r":2,"rank_pattern":[1])", "must be an object"));
  EXPECT(config_is_refused(R"("r":2,"rank_pattern":{"q_proj":0})", "must be 1 to 4096"));
  EXPECT(config_is_refused(R"("r":2,"alpha_pattern":{"q_proj":"x"})", "must be a number"));
  EXPECT(config_is_refused(R"("r":2,"alpha_pattern":{"(?i)q":1})", "does not read"));
  EXPECT(config_is_refused(R"("r":2,"target_modules":"a{3}")", "does not read"));
}

TEST(options_that_are_not_computed_are_refused_by_name) {
  for (const char* option : {R"("use_qalora":true)", R"("alora_invocation_tokens":[1])",
                             R"("trainable_token_indices":[3])", R"("layer_replication":[[0,1]])",
                             R"("target_parameters":["mlp.experts.gate_up_proj"])",
                             R"("megatron_config":{"a":1})", R"("something_new":"yes")"}) {
    EXPECT(config_is_refused(R"("r":2,)" + std::string(option), "does not compute"));
  }
  lora::parse_adapter_config(config_with(R"("r":2,"something_new":null,"other":false,"third":[])"));
}

TEST(every_problem_of_a_configuration_is_listed) {
  const std::string text = config_refusal(R"("r":0,"bias":"some","use_qalora":true)");
  for (const char* part : {"r is 0", "bias is 'some'", "'use_qalora' is true"})
    EXPECT(contains(text, part));
}

TEST(tensors_that_the_configuration_does_not_name_are_refused) {
  const auto with = [](const std::string& more) {
    return good().config(config_with(R"("r":2,)" + more));
  };
  EXPECT(is_refused(with(R"("target_modules":["v_proj"])"),
                    "target_modules of adapter_config.json does not name it"));
  EXPECT(is_refused(with(R"("target_modules":"model\\.layers\\.1\\..*")"), "does not name it"));
  EXPECT(is_refused(with(R"("target_modules":["up_proj"],"layers_to_transform":[1])"),
                    "does not have layer 0"));
  EXPECT(is_refused(with(R"("bias":"none")").add(std::string(kUp) + ".bias", {12}),
                    "says bias: 'none'"));
  EXPECT(is_refused(with(R"("bias":"none")").add("model.layers.0.self_attn.v_proj.weight", {8, 8}),
                    "modules_to_save of adapter_config.json does not name it"));
}

TEST(promises_that_no_tensor_keeps_are_refused) {
  const auto with = [](const std::string& more) {
    return good().config(config_with(R"("r":2,)" + more));
  };
  EXPECT(
      is_refused(with(R"("target_modules":["up_proj","down_proj"])"), "target_modules down_proj"));
  EXPECT(is_refused(with(R"("modules_to_save":["lm_head"])"), "modules_to_save lm_head"));
  EXPECT(is_refused(with(R"("rank_pattern":{"down_proj":2})"), "rank_pattern down_proj"));
  EXPECT(is_refused(with(R"("alpha_pattern":{"down_proj":2})"), "alpha_pattern down_proj"));
  EXPECT(is_refused(with(R"("layers_to_transform":[0,1])"), "layers_to_transform 1"));
}

TEST(factors_of_another_rank_than_promised_are_refused) {
  EXPECT(
      is_refused(good().config(config_with(R"("r":3)")), "have rank 2, the configuration says 3"));
  EXPECT(is_refused(good().config(config_with(R"("r":2,"rank_pattern":{"up_proj":4})")),
                    "the configuration says 4"));
}

TEST(parts_that_the_configuration_denies_or_misses_are_refused) {
  const auto with = [](const std::string& more) {
    return good().config(config_with(R"("r":2)" + more));
  };
  EXPECT(is_refused(with(R"(,"use_dora":true)"), "lora_magnitude_vector is missing"));
  EXPECT(is_refused(with("").add(std::string(kUp) + ".lora_magnitude_vector", {12}),
                    "use_dora: false"));
  EXPECT(is_refused(with(R"(,"lora_bias":true)"), "lora_B.bias is missing"));
  EXPECT(is_refused(with("").add(std::string(kUp) + ".lora_B.bias", {12}), "lora_bias: false"));
}

// ---- whole adapters

TEST(an_adapter_for_another_architecture_is_refused) {
  lora::AdapterSource source = good().source();
  source.architecture = "qwen2";
  const auto message = EXPECT_ERROR(kAdapter, { lora::build_adapter(source, *base(), {}); });
  EXPECT(contains(message, "made for the architecture 'qwen2'; the base is 'llama'"));
}

TEST(an_adapter_that_changes_nothing_is_refused_also_when_not_strict) {
  EXPECT(contains(refusal(AdapterMaker()), "it changes nothing"));
  EXPECT(
      contains(refusal(AdapterMaker().add("x", {1}), {.strict = false}), "no part of an adapter"));
}

TEST(a_refusal_lists_every_tensor) {
  AdapterMaker maker;
  for (int i = 0; i < 5; ++i) maker.add(concat("junk.", i), {1});
  const std::string text = refusal(maker);
  for (int i = 0; i < 5; ++i) EXPECT(contains(text, concat("'junk.", i, "'")));
}

TEST(what_fits_is_taken_when_not_strict_and_the_rest_reported) {
  AdapterMaker maker = good();
  maker.add("junk", {1}).add("model.layers.1.mlp.up_proj.lora_A.weight", {2, 8});
  const auto adapter = maker.build(*base(), {.strict = false});
  EXPECT_EQ(adapter->deltas().size(), size_t{1});
  EXPECT_EQ(adapter->report().applied.size(), size_t{2});
  EXPECT_EQ(adapter->report().refused.size(), size_t{2});
}

TEST(a_module_with_a_refused_part_is_refused_whole) {
  AdapterMaker maker = good();
  maker.add_pair("model.layers.1.mlp.up_proj", kUpRows, kWidth);
  maker.last_values()[0] = NAN;
  const auto adapter = maker.build(*base(), {.strict = false});
  EXPECT_EQ(adapter->deltas().size(), size_t{1});
  EXPECT_EQ(adapter->report().refused.size(), size_t{2});
  EXPECT(contains(adapter->report().refused[0].reason, "another tensor of its module was refused"));
}

// ---- compositions

TEST(compositions_that_mean_nothing_are_refused) {
  AdapterMaker head;
  const auto saved = head.add("lm_head.weight", {kVocab, kWidth}).build(*base());
  const auto refused = [&](const lora::ScaledAdapters& adapters) {
    return EXPECT_ERROR(kAdapter, { lora::check_composition(*base(), adapters); });
  };
  EXPECT(contains(refused({{saved, 0.5f}}), "its scale is 1, not 0.5"));
  EXPECT(
      contains(refused({{saved, 1.0f}, {saved, 1.0f}}), "two adapters save the module 'output'"));
  AdapterMaker dora;
  dora.add_pair("lm_head", kVocab, kWidth).add("lm_head.lora_magnitude_vector", {kVocab});
  EXPECT(
      contains(refused({{dora.build(*base()), 1.0f}, {saved, 1.0f}}), "DoRA measures the base's"));
  const auto factors = good().build(*base());
  lora::check_composition(*base(), {{factors, 0.5f}, {factors, -2.0f}, {saved, 1.0f}});
}

// ---- merging

TEST(a_merge_whose_sums_overflow_is_refused) {
  const auto scaled = [](const AdapterMaker& maker, float scale) {
    return lora::Merge(base(), {{maker.build(*base()), scale}});
  };
  AdapterMaker one_row;
  one_row.add(std::string(kUp) + ".lora_A.weight", {1, 8}, std::vector<float>(8, 1.0f));
  std::vector<float> left(12);
  left[5] = 2;
  one_row.add(std::string(kUp) + ".lora_B.weight", {12, 1}, left);
  std::vector<float> rows(static_cast<size_t>(kUpRows * kWidth));
  scaled(one_row, 1e38f).apply("blk.0.ffn_up", 0, kUpRows, rows.data());
  for (const float scale : {3e38f, -3e38f}) {
    rows.assign(rows.size(), 0);
    scaled(one_row, scale).apply("blk.0.ffn_up", 0, 5, rows.data());
    const auto message = EXPECT_ERROR(
        kAdapter, { scaled(one_row, scale).apply("blk.0.ffn_up", 3, 4, rows.data()); });
    EXPECT(contains(message, scale > 0 ? "make the weight of 'blk.0.ffn_up' inf in row 5"
                                       : "make the weight of 'blk.0.ffn_up' -inf in row 5"));
  }
  rows.assign(rows.size(), NAN);
  EXPECT_ERROR(kAdapter, { scaled(one_row, 1).apply("blk.0.ffn_up", 0, 1, rows.data()); });

  AdapterMaker biased = good();
  biased.config(R"({"peft_type":"LORA","r":2,"lora_alpha":2,"lora_bias":true})");
  biased.add(std::string(kUp) + ".lora_B.bias", {12}, std::vector<float>(12, 3.0f));
  EXPECT_EQ(scaled(biased, 1.0f).bias("blk.0.ffn_up")->at(0), 3.0f);
  EXPECT(contains(EXPECT_ERROR(kAdapter, { scaled(biased, 2e38f).bias("blk.0.ffn_up"); }),
                  "make the bias of 'blk.0.ffn_up' inf in row 0"));
}
