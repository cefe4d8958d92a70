/* A model's layers one by one: they compose to the whole forward, and refuse another order. */
#include <math.h>

#include "expect.h"

enum { kTokens = 8, kWidth = 256, kLayers = 4, kVocab = 1024 };

/* Logits of tokens [first, first + n) of the prompt by single calls; position `first` is reached.
 */
static void step(realm_session* session, size_t first, size_t n, float* logits) {
  float* rows = calloc(n * kWidth, sizeof *rows);
  int64_t layer;
  EXPECT(realm_embed_tokens(session, capital_of_france + first, n, rows, n * kWidth) == REALM_OK);
  for (layer = 0; layer < kLayers; ++layer) {
    EXPECT(realm_forward_layer(session, layer, rows, n * kWidth) == REALM_OK);
  }
  EXPECT(realm_compute_logits(session, rows, n * kWidth, logits, n * kVocab) == REALM_OK);
  free(rows);
}

static void layers_compose_to_the_whole_forward_bit_for_bit(realm_tenant* tenant) {
  const size_t bytes = kTokens * kVocab * sizeof(float);
  float* whole = calloc(kTokens * kVocab, sizeof *whole);
  float* composed = calloc(kTokens * kVocab, sizeof *composed);
  realm_session_options options;
  realm_session* session = NULL;
  int64_t position = -1;
  int32_t kv_type;

  EXPECT(realm_session_options_init(&options, sizeof options) == REALM_OK);
  for (kv_type = REALM_KV_F32; kv_type <= REALM_KV_Q8_0; ++kv_type) {
    options.kv_type = kv_type;
    EXPECT(realm_prompt_logits(tenant, &options, capital_of_france, kTokens, kTokens, whole,
                               kTokens * kVocab) == REALM_OK);
    EXPECT(realm_session_create(tenant, &options, &session) == REALM_OK);
    step(session, 0, kTokens, composed);
    EXPECT(memcmp(whole, composed, bytes) == 0);
    EXPECT(realm_session_position(session, &position) == REALM_OK && position == kTokens);

    /* Back to the third token, and on in steps of another length. */
    memset(composed + 3 * kVocab, 0, bytes - 3 * kVocab * sizeof(float));
    EXPECT(realm_session_truncate(session, 3) == REALM_OK);
    step(session, 3, 1, composed + 3 * kVocab);
    step(session, 4, 4, composed + 4 * kVocab);
    EXPECT(memcmp(whole, composed, bytes) == 0);
    EXPECT(realm_session_free(session) == REALM_OK);
  }
  free(whole);
  free(composed);
}

static void an_adapter_and_the_choice_of_rows_are_in_the_logits(const world* w, const service* s) {
  char* path = path_in(w->demo, "adapter");
  float* base = calloc(kTokens * kVocab, sizeof *base);
  float* last = calloc(kVocab, sizeof *last);
  EXPECT(realm_prompt_logits(s->tenant, NULL, capital_of_france, kTokens, kTokens, base,
                             kTokens * kVocab) == REALM_OK);
  EXPECT(realm_prompt_logits(s->tenant, NULL, capital_of_france, kTokens, 1, last, kVocab) ==
         REALM_OK);
  EXPECT(memcmp(base + 7 * kVocab, last, kVocab * sizeof(float)) == 0);

  EXPECT(realm_adapter_load(s->runtime, TEXT("style"), path, strlen(path), TEXT("demo")) ==
         REALM_OK);
  EXPECT(realm_tenant_set_lora_adapter(s->runtime, TEXT("main"), TEXT("style")) == REALM_OK);
  EXPECT(realm_prompt_logits(s->tenant, NULL, capital_of_france, kTokens, 1, last, kVocab) ==
         REALM_OK);
  EXPECT(memcmp(base + 7 * kVocab, last, kVocab * sizeof(float)) != 0);
  layers_compose_to_the_whole_forward_bit_for_bit(s->tenant);
  EXPECT(realm_tenant_set_lora_adapter(s->runtime, TEXT("main"), NULL, 0) == REALM_OK);
  EXPECT(realm_set_lora_adapter(s->runtime, TEXT("demo"), TEXT("style")) == REALM_OK);
  layers_compose_to_the_whole_forward_bit_for_bit(s->tenant);
  EXPECT(realm_set_lora_adapter(s->runtime, TEXT("demo"), NULL, 0) == REALM_OK);
  free(base);
  free(last);
  free(path);
}

static void the_best_logit_is_what_a_greedy_request_says(realm_tenant* tenant) {
  float* logits = calloc(kVocab, sizeof *logits);
  const realm_sampling_params params = greedy(1);
  const realm_request_options options = with_params(&params);
  int32_t best = 0, i;
  answer whole;
  EXPECT(realm_prompt_logits(tenant, NULL, capital_of_france, kTokens, 1, logits, kVocab) ==
         REALM_OK);
  for (i = 1; i < kVocab; ++i) best = logits[i] > logits[best] ? i : best;
  ask(tenant, &options, &whole);
  EXPECT(whole.n_tokens == 1 && whole.tokens[0] == best);
  free(logits);
}

static void another_order_or_size_is_refused_and_changes_nothing(realm_tenant* tenant) {
  float rows[2 * kWidth], wrong[3] = {0};
  float* logits = calloc(2 * kVocab, sizeof *logits);
  realm_session_options options;
  realm_session* session = NULL;
  const int32_t beyond = 1024;
  int64_t position = -1, layer;

  EXPECT(realm_session_options_init(&options, sizeof options) == REALM_OK);
  options.max_tokens = 4;
  EXPECT(realm_session_create(tenant, &options, &session) == REALM_OK);
  EXPECT_REFUSED(realm_embed_tokens(session, &beyond, 1, rows, kWidth), "1024");
  EXPECT_REFUSED(realm_embed_tokens(session, capital_of_france, 2, rows, kWidth), "");
  EXPECT_REFUSED(realm_embed_tokens(session, NULL, 2, rows, 2 * kWidth), "tokens is NULL");
  EXPECT_REFUSED(realm_embed_tokens(session, capital_of_france, 8, NULL, 8 * kWidth),
                 "rows is NULL");
  EXPECT(realm_embed_tokens(session, capital_of_france, 2, rows, 2 * kWidth) == REALM_OK);
  EXPECT_REFUSED(realm_forward_layer(session, 1, rows, 2 * kWidth), "layer 1");
  EXPECT_REFUSED(realm_forward_layer(session, -1, rows, 2 * kWidth), "layer -1");
  EXPECT_REFUSED(realm_forward_layer(session, 0, wrong, 3), "");
  EXPECT(realm_forward_layer(session, 0, rows, 2 * kWidth) == REALM_OK);
  EXPECT_REFUSED(realm_embed_tokens(session, capital_of_france, 2, rows, 2 * kWidth), "layer 1");
  EXPECT_REFUSED(realm_forward_layer(session, 1, rows, kWidth), "rows");
  rows[3] = NAN;
  EXPECT_REFUSED(realm_forward_layer(session, 1, rows, 2 * kWidth), "nan");
  EXPECT_REFUSED(realm_compute_logits(session, rows, kWidth, logits, kVocab), "nan");
  EXPECT(realm_session_position(session, &position) == REALM_OK && position == 0);

  EXPECT(realm_session_truncate(session, 0) == REALM_OK);
  step(session, 0, 2, logits);
  step(session, 2, 2, logits);
  EXPECT(realm_session_position(session, &position) == REALM_OK && position == 4);
  EXPECT_REFUSED(realm_embed_tokens(session, capital_of_france, 1, rows, kWidth), "made for 4");
  EXPECT_REFUSED(realm_session_truncate(session, 5), "5");
  EXPECT_REFUSED(realm_compute_logits(session, rows, kWidth, logits, kVocab - 1), "");
  for (layer = 0; layer < 2 * kWidth; ++layer) rows[layer] = 0.5f;
  EXPECT(realm_compute_logits(session, rows, 2 * kWidth, logits, 2 * kVocab) == REALM_OK);
  EXPECT(realm_session_free(session) == REALM_OK);

  options.max_tokens = 513;
  EXPECT_REFUSED(realm_session_create(tenant, &options, &session), "513");
  options.max_tokens = 0;
  options.kv_type = 4;
  EXPECT_REFUSED(realm_session_create(tenant, &options, &session), "kv_type must be from 0 to 3");
  EXPECT_REFUSED(realm_prompt_logits(tenant, NULL, capital_of_france, 8, 9, logits, 9 * kVocab),
                 "n_wanted is 9");
  free(logits);
}

void test_layers(const world* w) {
  service s = open_service(w);
  layers_compose_to_the_whole_forward_bit_for_bit(s.tenant);
  the_best_logit_is_what_a_greedy_request_says(s.tenant);
  an_adapter_and_the_choice_of_rows_are_in_the_logits(w, &s);
  another_order_or_size_is_refused_and_changes_nothing(s.tenant);
  close_service(&s);
}
