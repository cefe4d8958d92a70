/* Structs of older and newer headers, and the defaults. */
#include <stddef.h>

#include "expect.h"

/* A struct as a newer header may have it. */
typedef struct newer_params {
  realm_sampling_params known;
  int64_t not_yet[4];
} newer_params;

static void defaults_are_filled_in(void) {
  realm_runtime_options runtime;
  realm_model_options model;
  realm_quota quota;
  realm_tenant_options tenant;
  realm_sampling_params params;
  realm_speculative_config speculative;
  realm_request_options request;
  realm_session_options session;

  EXPECT(realm_runtime_options_init(&runtime, sizeof runtime) == REALM_OK);
  EXPECT(runtime.struct_size == sizeof runtime && runtime.max_sequences == 32);
  EXPECT(runtime.prefix_cache == 1 && runtime.max_queue == REALM_NONE);
  EXPECT(realm_model_options_init(&model, sizeof model) == REALM_OK);
  EXPECT(model.draft_path.length == 0 && model.speculative == NULL);
  EXPECT(realm_quota_init(&quota, sizeof quota) == REALM_OK);
  EXPECT(quota.max_tokens == REALM_NONE && quota.kv_blocks == REALM_NONE);
  EXPECT(realm_tenant_options_init(&tenant, sizeof tenant) == REALM_OK);
  EXPECT(tenant.quota == NULL && tenant.sampling == NULL && !(tenant.weight > 0));
  EXPECT(realm_sampling_params_init(&params, sizeof params) == REALM_OK);
  EXPECT(params.max_tokens == 512 && params.top_k == 40 && params.logprobs == REALM_NONE);
  EXPECT(params.has_seed == 0 && params.n_stop == 0);
  EXPECT(realm_speculative_config_init(&speculative, sizeof speculative) == REALM_OK);
  EXPECT(speculative.draft_k == 4 && speculative.adaptive == 1);
  EXPECT(realm_request_options_init(&request, sizeof request) == REALM_OK);
  EXPECT(request.params == NULL && request.deadline_ms == REALM_NONE);
  EXPECT(realm_session_options_init(&session, sizeof session) == REALM_OK);
  EXPECT(session.max_rows > 0 && session.kv_type == REALM_KV_F16);
}

static void a_size_that_no_struct_has_is_refused(void) {
  realm_sampling_params params;
  memset(&params, 0xee, sizeof params);
  EXPECT_REFUSED(realm_sampling_params_init(NULL, sizeof params), "out is NULL");
  EXPECT_REFUSED(realm_sampling_params_init(&params, 0), "struct_size is 0");
  EXPECT_REFUSED(realm_sampling_params_init(&params, SIZE_MAX), "struct_size is ");
  EXPECT(params.ignore_eos == (int32_t)0xeeeeeeee);
}

static void an_older_header_gets_what_it_knows(void) {
  realm_sampling_params params;
  memset(&params, 0xee, sizeof params);
  EXPECT(realm_sampling_params_init(&params, offsetof(realm_sampling_params, top_k)) == REALM_OK);
  EXPECT(params.max_tokens == 512 && params.top_k == (int64_t)0xeeeeeeeeeeeeeeee);
}

static void a_newer_header_is_served_unless_it_asks_for_more(const world* w) {
  service s = open_service(w);
  newer_params newer;
  realm_request_options options;
  answer whole;

  memset(&newer, 0xee, sizeof newer);
  EXPECT(realm_sampling_params_init(&newer.known, sizeof newer) == REALM_OK);
  EXPECT(newer.not_yet[0] == 0 && newer.not_yet[3] == 0);
  newer.known.max_tokens = 2;
  options = with_params(&newer.known);
  ask(s.tenant, &options, &whole);
  EXPECT(whole.n_tokens == 2);

  newer.not_yet[3] = 1;
  {
    realm_request* request = NULL;
    EXPECT_REFUSED(realm_request_submit(s.tenant, capital_of_france, 8, &options, &request),
                   "fields that this version of the library does not know");
    newer.not_yet[3] = 0;
    newer.known.struct_size = sizeof(size_t);
    EXPECT_REFUSED(realm_request_submit(s.tenant, capital_of_france, 8, &options, &request),
                   "params->struct_size is 8");
    EXPECT(request == NULL);
  }
  close_service(&s);
}

/* Each with the one field that is wrong, and what the refusal says. */
static void a_field_that_makes_no_sense_is_named(const world* w) {
  service s = open_service(w);
  realm_request* request = NULL;
  realm_sampling_params params;
  realm_speculative_config guesses;
  realm_request_options options;

#define SUBMIT() realm_request_submit(s.tenant, capital_of_france, 8, &options, &request)
#define PARAMS_REFUSED(change, words) \
  do {                                \
    params = greedy(4);               \
    options = with_params(&params);   \
    change;                           \
    EXPECT_REFUSED(SUBMIT(), words);  \
  } while (0)

  PARAMS_REFUSED(params.max_tokens = 0, "max_tokens");
  PARAMS_REFUSED(params.temperature = -1, "temperature");
  PARAMS_REFUSED(params.top_p = 2, "top_p");
  PARAMS_REFUSED(params.has_seed = 2, "has_seed must be 0 or 1, is 2");
  PARAMS_REFUSED(params.ignore_eos = -1, "ignore_eos must be 0 or 1, is -1");
  PARAMS_REFUSED(params.logprobs = -2, "logprobs");
  PARAMS_REFUSED(params.n_stop = 1, "stop is NULL, with a count of 1");
  PARAMS_REFUSED(params.n_stop_token_ids = SIZE_MAX, "stop_token_ids has a count of ");
  PARAMS_REFUSED(params.n_logit_bias = 3, "logit_bias is NULL, with a count of 3");
  PARAMS_REFUSED(options.deadline_ms = -5, "deadline_ms");
  PARAMS_REFUSED(options.plain = 7, "plain must be 0 or 1, is 7");
  PARAMS_REFUSED(options.reserved = 1, "reserved must be 0, is 1");
  PARAMS_REFUSED(options.n_adapters = 1, "n_adapters is 1, and chooses_adapters is 0");

  params = greedy(4);
  options = with_params(&params);
  EXPECT(realm_speculative_config_init(&guesses, sizeof guesses) == REALM_OK);
  options.speculative = &guesses;
  guesses.drafter = 2;
  EXPECT_REFUSED(SUBMIT(), "drafter must be from 0 to 1, is 2");
  guesses.drafter = REALM_DRAFTER_NGRAM;
  guesses.max_draft_tokens = 1000;
  EXPECT_REFUSED(SUBMIT(), "max_draft_tokens");
  EXPECT(request == NULL);
  close_service(&s);
}

void test_options(const world* w) {
  defaults_are_filled_in();
  a_size_that_no_struct_has_is_refused();
  an_older_header_gets_what_it_knows();
  a_newer_header_is_served_unless_it_asks_for_more(w);
  a_field_that_makes_no_sense_is_named(w);
}
