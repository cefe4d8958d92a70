/* Requests: answers piece by piece and whole, options, and the ways an answer ends. */
#include "expect.h"

static void an_answer_comes_piece_by_piece(const world* w) {
  service s = open_service(w);
  const realm_sampling_params params = greedy(12);
  const realm_request_options options = with_params(&params);
  realm_request* request = NULL;
  realm_request_report report = {.struct_size = sizeof report};
  char bytes[256] = "";
  int32_t tokens[64];
  size_t n_bytes = 0, n_tokens = 0, n_taken = 0, length = 99;
  int32_t ended = 0, ready = 0;
  char text[256];

  EXPECT(realm_request_submit(s.tenant, capital_of_france, 8, &options, &request) == REALM_OK);
  while (!ended) { /* one token and two bytes at a time, at most */
    size_t one = 0, two = 0;
    EXPECT(realm_request_wait(request, 60000, &ready) == REALM_OK && ready == 1);
    EXPECT(realm_request_take(request, tokens + n_tokens, 1, &one, bytes + n_bytes, 2, &two,
                              &ended) == REALM_OK);
    EXPECT(one <= 1 && two <= 2);
    n_tokens += one;
    n_bytes += two;
  }
  EXPECT(strncmp(bytes, " Paris", 6) == 0);
  EXPECT(realm_request_poll(request, &ready) == REALM_OK && ready == 1);
  EXPECT(realm_request_take(request, tokens, 1, &n_taken, bytes, 2, &n_taken, &ended) == REALM_OK);
  EXPECT(ended == 1 && n_taken == 0);

  EXPECT(realm_request_describe(request, &report) == REALM_OK);
  EXPECT(report.state == REALM_REQUEST_FINISHED && report.status == REALM_OK);
  EXPECT(report.n_prompt == 8 && report.n_generated == (int64_t)n_tokens);
  EXPECT(report.first_token_ns > 0 && report.finished_ns >= report.first_token_ns);
  EXPECT(realm_request_error(request, NULL, 0, &length) == REALM_OK && length == 0);
  EXPECT(realm_decode_tokens(s.runtime, TEXT("demo"), tokens, n_tokens, text, sizeof text,
                             &length) == REALM_OK);
  EXPECT(length == n_bytes && memcmp(text, bytes, length) == 0);
  EXPECT(realm_request_free(request) == REALM_OK);
  close_service(&s);
}

static void what_is_not_wanted_is_dropped(const world* w) {
  service s = open_service(w);
  const realm_sampling_params params = greedy(6);
  const realm_request_options options = with_params(&params);
  realm_request* request = NULL;
  int32_t tokens[64], ended = 0;
  size_t n_tokens = 0;
  EXPECT(realm_generate(s.tenant, capital_of_france, 8, &options, &request) == REALM_OK);
  EXPECT(realm_request_take(request, tokens, 64, &n_tokens, NULL, 0, NULL, &ended) == REALM_OK);
  EXPECT(n_tokens == 6 && ended == 1);
  EXPECT_REFUSED(realm_request_take(request, NULL, 64, NULL, NULL, 0, NULL, &ended),
                 "tokens is NULL, with a capacity of 64");
  EXPECT_REFUSED(realm_request_take(request, tokens, 64, NULL, NULL, 0, NULL, &ended),
                 "the count of tokens is NULL");
  EXPECT_REFUSED(realm_request_take(request, NULL, 0, NULL, NULL, 0, NULL, NULL), "ended is NULL");
  EXPECT(realm_request_free(request) == REALM_OK);
  close_service(&s);
}

static void a_seed_gives_the_same_answer_again(const world* w) {
  service s = open_service(w);
  realm_sampling_params params;
  realm_request_options options;
  realm_request* request = NULL;
  realm_request_report report = {.struct_size = sizeof report};
  answer first, again;
  EXPECT(realm_sampling_params_init(&params, sizeof params) == REALM_OK);
  params.max_tokens = 16;
  params.temperature = 1.5;
  options = with_params(&params);
  EXPECT(realm_generate(s.tenant, capital_of_france, 8, &options, &request) == REALM_OK);
  EXPECT(realm_request_describe(request, &report) == REALM_OK);
  take_answer(request, &first);
  params.has_seed = 1;
  params.seed = report.seed;
  ask(s.tenant, &options, &again);
  EXPECT(again.n_tokens == first.n_tokens && strcmp(again.bytes, first.bytes) == 0);
  close_service(&s);
}

static void stops_end_an_answer_and_say_so(const world* w) {
  service s = open_service(w);
  const realm_text stops[2] = {{TEXT("nowhere")}, {TEXT("ris")}};
  const realm_logit_bias forbidden[1] = {{0, -1e30f}};
  realm_sampling_params params = greedy(12);
  realm_request_options options = with_params(&params);
  realm_request* request = NULL;
  realm_request_report report = {.struct_size = sizeof report};
  int32_t first = 0;
  answer whole;

  params.stop = stops;
  params.n_stop = 2;
  params.logit_bias = forbidden;
  params.n_logit_bias = 1;
  EXPECT(realm_generate(s.tenant, capital_of_france, 8, &options, &request) == REALM_OK);
  EXPECT(realm_request_describe(request, &report) == REALM_OK);
  EXPECT(report.finish == REALM_FINISH_STOP && report.stop_index == 1);
  EXPECT(report.stop_token == REALM_NONE);
  take_answer(request, &whole);
  EXPECT(strcmp(whole.bytes, " Pa") == 0);
  first = whole.tokens[0];

  params.n_stop = 0;
  params.stop_token_ids = &first;
  params.n_stop_token_ids = 1;
  EXPECT(realm_generate(s.tenant, capital_of_france, 8, &options, &request) == REALM_OK);
  EXPECT(realm_request_describe(request, &report) == REALM_OK);
  EXPECT(report.finish == REALM_FINISH_STOP && report.stop_token == first);
  take_answer(request, &whole);
  EXPECT(whole.n_tokens == 0);
  close_service(&s);
}

static void log_probabilities_come_with_their_tokens(const world* w) {
  service s = open_service(w);
  realm_sampling_params params = greedy(5);
  realm_request_options options = with_params(&params);
  realm_request* request = NULL;
  realm_token_logprob records[3 * 5];
  realm_request_report report = {.struct_size = sizeof report};
  size_t count = 0, i;
  answer whole;
  params.logprobs = 2;
  EXPECT(realm_generate(s.tenant, capital_of_france, 8, &options, &request) == REALM_OK);
  EXPECT(realm_request_describe(request, &report) == REALM_OK && report.logprobs == 2);
  EXPECT(realm_request_take_logprobs(request, records, 2, &count) == REALM_OK && count == 0);
  EXPECT(realm_request_take_logprobs(request, records, 4, &count) == REALM_OK && count == 3);
  EXPECT(realm_request_take_logprobs(request, records + 3, 12, &count) == REALM_OK && count == 12);
  take_answer(request, &whole);
  for (i = 0; i < 5; ++i) { /* the chosen token is the most likely one */
    EXPECT(records[3 * i].token == whole.tokens[i] && records[3 * i].logprob <= 0);
    EXPECT(records[3 * i + 1].token == whole.tokens[i]);
    EXPECT(records[3 * i + 2].logprob <= records[3 * i + 1].logprob);
  }
  params.logprobs = REALM_NONE;
  EXPECT(realm_generate(s.tenant, capital_of_france, 8, &options, &request) == REALM_OK);
  EXPECT_REFUSED(realm_request_take_logprobs(request, records, 15, &count), "REALM_NONE");
  EXPECT(realm_request_free(request) == REALM_OK);
  close_service(&s);
}

static void an_answer_ends_when_cancelled_or_out_of_time(const world* w) {
  service s = open_service(w);
  realm_sampling_params params = greedy(500);
  realm_request_options options = with_params(&params);
  realm_request_report report = {.struct_size = sizeof report};
  realm_request* request = NULL;
  answer whole;
  params.ignore_eos = 1;
  EXPECT(realm_request_submit(s.tenant, capital_of_france, 8, &options, &request) == REALM_OK);
  EXPECT(realm_request_wait(request, -1, NULL) == REALM_OK);
  EXPECT(realm_request_cancel(request) == REALM_OK);
  wait_for_end(request, &report);
  EXPECT(report.finish == REALM_FINISH_CANCELLED && report.status == REALM_OK);
  EXPECT(report.n_generated < 500);
  EXPECT(realm_request_free(request) == REALM_OK);

  options.deadline_ms = 1;
  EXPECT(realm_generate(s.tenant, capital_of_france, 8, &options, &request) == REALM_OK);
  EXPECT(realm_request_describe(request, &report) == REALM_OK);
  EXPECT(report.finish == REALM_FINISH_DEADLINE);
  take_answer(request, &whole);

  /* One that is freed while it runs frees its place. */
  options.deadline_ms = REALM_NONE;
  EXPECT(realm_request_submit(s.tenant, capital_of_france, 8, &options, &request) == REALM_OK);
  EXPECT(realm_request_free(request) == REALM_OK);
  params.max_tokens = 3;
  ask(s.tenant, &options, &whole);
  EXPECT(whole.n_tokens == 3);
  close_service(&s);
}

static void a_prompt_that_cannot_be_is_refused(const world* w) {
  service s = open_service(w);
  realm_request* request = NULL;
  const int32_t beyond[2] = {1, 1024};
  int32_t* long_prompt = calloc(600, sizeof *long_prompt);
  EXPECT_REFUSED(realm_request_submit(s.tenant, NULL, 0, NULL, &request), "prompt");
  EXPECT_REFUSED(realm_request_submit(s.tenant, NULL, 3, NULL, &request),
                 "prompt is NULL, with a count of 3");
  EXPECT_REFUSED(realm_request_submit(s.tenant, beyond, 2, NULL, &request), "1024");
  EXPECT_REFUSED(realm_request_submit(s.tenant, long_prompt, 600, NULL, &request), "600");
  EXPECT_REFUSED(realm_generate(s.tenant, beyond, 2, NULL, &request), "1024");
  EXPECT_REFUSED(realm_request_submit(s.tenant, beyond, 1, NULL, NULL), "out is NULL");
  EXPECT(request == NULL);
  free(long_prompt);
  close_service(&s);
}

static void requests_together_answer_as_alone(const world* w) {
  service s = open_service(w);
  realm_sampling_params params;
  realm_request_options options;
  realm_request* requests[6] = {NULL};
  answer together[6], alone;
  size_t i;
  EXPECT(realm_sampling_params_init(&params, sizeof params) == REALM_OK);
  params.max_tokens = 16;
  params.has_seed = 1;
  options = with_params(&params);
  for (i = 0; i < 6; ++i) {
    params.seed = i;
    EXPECT(realm_request_submit(s.tenant, capital_of_france, 2 + i, &options, &requests[i]) ==
           REALM_OK);
  }
  for (i = 0; i < 6; ++i) take_answer(requests[i], &together[i]);
  for (i = 0; i < 6; ++i) {
    realm_request* request = NULL;
    params.seed = i;
    EXPECT(realm_generate(s.tenant, capital_of_france, 2 + i, &options, &request) == REALM_OK);
    take_answer(request, &alone);
    EXPECT(alone.n_tokens == together[i].n_tokens && alone.n_tokens > 0);
    EXPECT(memcmp(alone.tokens, together[i].tokens, alone.n_tokens * sizeof(int32_t)) == 0);
  }
  close_service(&s);
}

void test_requests(const world* w) {
  an_answer_comes_piece_by_piece(w);
  what_is_not_wanted_is_dropped(w);
  a_seed_gives_the_same_answer_again(w);
  stops_end_an_answer_and_say_so(w);
  log_probabilities_come_with_their_tokens(w);
  an_answer_ends_when_cancelled_or_out_of_time(w);
  a_prompt_that_cannot_be_is_refused(w);
  requests_together_answer_as_alone(w);
}
