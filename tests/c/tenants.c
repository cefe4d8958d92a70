/* Tenants: their terms, their numbers, and their end. */
#include "expect.h"

static realm_tenant_options with_quota(realm_quota* quota) {
  realm_tenant_options options;
  EXPECT(realm_quota_init(quota, sizeof *quota) == REALM_OK);
  EXPECT(realm_tenant_options_init(&options, sizeof options) == REALM_OK);
  options.quota = quota;
  return options;
}

static void a_request_above_the_quota_is_refused_with_both_numbers(const world* w) {
  service s = open_service(w);
  realm_quota quota;
  realm_tenant_options options = with_quota(&quota);
  realm_sampling_params params = greedy(5);
  realm_request_options request_options = with_params(&params);
  realm_tenant* small = NULL;
  realm_request* request = NULL;
  realm_tenant_usage usage = {.struct_size = sizeof usage};

  quota.max_tokens = 4;
  EXPECT(realm_tenant_get_or_create(s.runtime, TEXT("small"), TEXT("demo"), &options, &small) ==
         REALM_OK);
  EXPECT_FAILS(realm_request_submit(small, capital_of_france, 8, &request_options, &request),
               REALM_ERROR_QUOTA_EXCEEDED, "max_tokens allows 4, this would be 5");
  EXPECT(request == NULL);
  params.max_tokens = 4;
  {
    answer whole;
    ask(small, &request_options, &whole);
    EXPECT(whole.n_tokens == 4);
  }
  EXPECT(realm_tenant_stats(small, &usage) == REALM_OK);
  EXPECT(usage.total_requests == 1 && usage.tokens_generated == 4 && usage.prompt_tokens == 8);
  quota.max_tokens = -2;
  EXPECT_REFUSED(
      realm_tenant_get_or_create(s.runtime, TEXT("next"), TEXT("demo"), &options, &small),
      "max_tokens must be at least 0, or REALM_NONE, is -2");
  EXPECT(realm_tenant_free(small) == REALM_OK);
  close_service(&s);
}

static void a_tenant_has_its_own_defaults_and_terms_that_stay(const world* w) {
  service s = open_service(w);
  realm_tenant_options options;
  const realm_sampling_params params = greedy(3);
  realm_tenant* first = NULL;
  realm_tenant* again = NULL;
  answer whole;

  EXPECT(realm_tenant_options_init(&options, sizeof options) == REALM_OK);
  options.sampling = &params;
  options.weight = 2;
  EXPECT(realm_tenant_get_or_create(s.runtime, TEXT("brief"), TEXT("demo"), &options, &first) ==
         REALM_OK);
  EXPECT(realm_tenant_get_or_create(s.runtime, TEXT("brief"), TEXT("demo"), NULL, &again) ==
         REALM_OK);
  EXPECT(first != again);
  ask(again, NULL, &whole);
  EXPECT(whole.n_tokens == 3 && strncmp(whole.bytes, " Paris", 6) == 0);
  options.weight = 3;
  EXPECT_REFUSED(
      realm_tenant_get_or_create(s.runtime, TEXT("brief"), TEXT("demo"), &options, &again),
      "weight");
  options.weight = -1;
  EXPECT_REFUSED(
      realm_tenant_get_or_create(s.runtime, TEXT("other"), TEXT("demo"), &options, &again),
      "weight");
  EXPECT_REFUSED(realm_tenant_get_or_create(s.runtime, TEXT("no"), TEXT("demo"), NULL, &again),
                 "'no'");
  EXPECT_REFUSED(realm_tenant_get_or_create(s.runtime, TEXT("none"), TEXT("other"), NULL, &again),
                 "'other'");
  EXPECT(realm_tenant_free(first) == REALM_OK && realm_tenant_free(again) == REALM_OK);
  close_service(&s);
}

static void release_ends_a_tenant_and_its_requests(const world* w) {
  service s = open_service(w);
  realm_request* request = NULL;
  realm_request* late = NULL;
  realm_request_report report = {.struct_size = sizeof report};
  realm_tenant_usage usage = {.struct_size = sizeof usage};
  realm_sampling_params params = greedy(400);
  realm_request_options options = with_params(&params);
  params.ignore_eos = 1;
  EXPECT(realm_request_submit(s.tenant, capital_of_france, 8, &options, &request) == REALM_OK);
  EXPECT(realm_tenant_release(s.runtime, TEXT("main")) == REALM_OK);
  EXPECT_REFUSED(realm_tenant_release(s.runtime, TEXT("main")), "'main'");
  wait_for_end(request, &report);
  EXPECT(report.finish == REALM_FINISH_CANCELLED);
  EXPECT_REFUSED(realm_request_submit(s.tenant, capital_of_france, 8, NULL, &late), "released");
  EXPECT(realm_tenant_stats(s.tenant, &usage) == REALM_OK && usage.total_requests == 1);
  EXPECT(realm_request_free(request) == REALM_OK);
  close_service(&s);
}

static void metrics_name_tenants_and_models(const world* w) {
  service s = open_service(w);
  const realm_sampling_params params = greedy(3);
  const realm_request_options options = with_params(&params);
  answer whole;
  size_t length = 0, again = 0;
  char* text = NULL;
  ask(s.tenant, &options, &whole);
  EXPECT(realm_metrics(s.runtime, NULL, 0, &length) == REALM_OK && length > 500);
  text = calloc(length + 4096, 1);
  EXPECT(realm_metrics(s.runtime, text, length + 4095, &again) == REALM_OK);
  EXPECT(again > 500 && strlen(text) == again);
  EXPECT(strstr(text, "tenant=\"main\"") != NULL && strstr(text, "model=\"demo\"") != NULL);
  EXPECT_REFUSED(realm_metrics(s.runtime, NULL, 100, &length), "buffer is NULL");
  EXPECT_REFUSED(realm_metrics(s.runtime, text, 100, NULL), "length is NULL");
  free(text);
  close_service(&s);
}

void test_tenants(const world* w) {
  a_request_above_the_quota_is_refused_with_both_numbers(w);
  a_tenant_has_its_own_defaults_and_terms_that_stay(w);
  release_ends_a_tenant_and_its_requests(w);
  metrics_name_tenants_and_models(w);
}
