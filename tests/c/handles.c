/* Handles that are no handles, that were freed, or that stand for something else; and what outlives
 * what. */
#define _POSIX_C_SOURCE 200112L
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

static void no_handle_is_refused_everywhere(void) {
  int32_t flag = 0;
  int64_t number = 0;
  size_t size = 0;
  uint64_t count = 0;
  float floats[4] = {0};
  realm_tenant_usage tenant = {.struct_size = sizeof tenant};
  realm_request_report report = {.struct_size = sizeof report};
  realm_token_logprob logprob;
  realm_session* session = NULL;
  realm_request* request = NULL;

  EXPECT_REFUSED(realm_metrics(NULL, NULL, 0, &size), "realm_runtime is NULL");
  EXPECT_REFUSED(realm_model_count(NULL, &size), "realm_runtime is NULL");
  EXPECT_REFUSED(realm_adapter_count(NULL, &size), "realm_runtime is NULL");
  EXPECT_REFUSED(realm_tenant_stats(NULL, &tenant), "realm_tenant is NULL");
  EXPECT_REFUSED(realm_session_create(NULL, NULL, &session), "realm_tenant is NULL");
  EXPECT_REFUSED(realm_generate(NULL, capital_of_france, 8, NULL, &request),
                 "realm_tenant is NULL");
  EXPECT_REFUSED(realm_request_poll(NULL, &flag), "realm_request is NULL");
  EXPECT_REFUSED(realm_request_cancel(NULL), "realm_request is NULL");
  EXPECT_REFUSED(realm_request_describe(NULL, &report), "realm_request is NULL");
  EXPECT_REFUSED(realm_request_take_logprobs(NULL, &logprob, 1, &size), "realm_request is NULL");
  EXPECT_REFUSED(realm_session_position(NULL, &number), "realm_session is NULL");
  EXPECT_REFUSED(realm_forward_layer(NULL, 0, floats, 4), "realm_session is NULL");
  EXPECT_REFUSED(realm_gguf_tensor_count(NULL, &count), "realm_gguf is NULL");
  EXPECT(realm_runtime_destroy(NULL) == REALM_OK && realm_tenant_free(NULL) == REALM_OK);
  EXPECT(realm_request_free(NULL) == REALM_OK && realm_session_free(NULL) == REALM_OK);
  EXPECT(session == NULL && request == NULL);
}

static void a_pointer_that_is_no_handle_is_not_looked_through(void) {
  int on_the_stack = 0;
  size_t size = 0;
  EXPECT_REFUSED(realm_metrics((realm_runtime*)(void*)&on_the_stack, NULL, 0, &size),
                 "a handle that this library did not give out");
  EXPECT_REFUSED(realm_metrics((realm_runtime*)(uintptr_t)1, NULL, 0, &size),
                 "a handle that this library did not give out");
  EXPECT_REFUSED(realm_request_cancel((realm_request*)UINTPTR_MAX),
                 "a handle that this library did not give out");
}

static void another_kind_of_handle_is_told(void) {
  realm_runtime* runtime = NULL;
  EXPECT(realm_runtime_create(NULL, &runtime) == REALM_OK);
  EXPECT_REFUSED(realm_request_cancel((realm_request*)(void*)runtime),
                 "the handle of a realm_runtime");
  EXPECT_REFUSED(realm_session_free((realm_session*)(void*)runtime),
                 "the handle of a realm_runtime");
  EXPECT(realm_runtime_destroy(runtime) == REALM_OK);
}

static void a_handle_that_was_freed_stays_so(void) {
  realm_runtime* first = NULL;
  realm_runtime* second = NULL;
  size_t size = 0;
  EXPECT(realm_runtime_create(NULL, &first) == REALM_OK);
  EXPECT(realm_runtime_destroy(first) == REALM_OK);
  EXPECT(realm_runtime_create(NULL, &second) == REALM_OK);
  EXPECT(first != second);
  EXPECT_REFUSED(realm_metrics(first, NULL, 0, &size), "a handle that was freed");
  EXPECT_REFUSED(realm_runtime_destroy(first), "a handle that was freed");
  EXPECT(realm_runtime_destroy(second) == REALM_OK);
}

static void everything_may_outlive_its_runtime(const world* w) {
  service s = open_service(w);
  realm_request* request = NULL;
  realm_request* late = NULL;
  realm_session* session = NULL;
  realm_request_report report = {.struct_size = sizeof report};
  realm_tenant_usage usage = {.struct_size = sizeof usage};
  float* rows = malloc(8 * 256 * sizeof(float));
  realm_sampling_params params = greedy(400);
  realm_request_options options = with_params(&params);

  params.ignore_eos = 1;
  EXPECT(realm_request_submit(s.tenant, capital_of_france, 8, &options, &request) == REALM_OK);
  EXPECT(realm_session_create(s.tenant, NULL, &session) == REALM_OK);
  EXPECT(realm_runtime_destroy(s.runtime) == REALM_OK);

  EXPECT(realm_request_describe(request, &report) == REALM_OK);
  EXPECT(report.state == REALM_REQUEST_FINISHED && report.finish == REALM_FINISH_CANCELLED);
  EXPECT(realm_tenant_stats(s.tenant, &usage) == REALM_OK && usage.total_requests == 1);
  EXPECT_REFUSED(realm_request_submit(s.tenant, capital_of_france, 8, NULL, &late), "released");
  EXPECT(realm_embed_tokens(session, capital_of_france, 8, rows, 8 * 256) == REALM_OK);
  EXPECT(realm_forward_layer(session, 0, rows, 8 * 256) == REALM_OK);

  EXPECT(realm_request_free(request) == REALM_OK);
  EXPECT(realm_session_free(session) == REALM_OK);
  EXPECT(realm_tenant_free(s.tenant) == REALM_OK);
  free(rows);
}

/* In the child: a bit for everything that went as it should. */
static int what_a_child_sees(const service* s, realm_request* request) {
  realm_request* late = NULL;
  realm_runtime* own = NULL;
  realm_gguf* gguf = NULL;
  size_t size = 0;
  int right = 0;
  right |=
      (realm_request_submit(s->tenant, capital_of_france, 8, NULL, &late) == REALM_ERROR_FORKED);
  right |= (realm_request_wait(request, -1, NULL) == REALM_ERROR_FORKED) << 1;
  right |= (realm_runtime_destroy(s->runtime) == REALM_ERROR_FORKED) << 2;
  right |= (realm_gguf_open_memory("GGUF", 4, &gguf) == REALM_ERROR_FORMAT) << 3;
  right |=
      (realm_runtime_create(NULL, &own) == REALM_OK &&
       realm_metrics(own, NULL, 0, &size) == REALM_OK && realm_runtime_destroy(own) == REALM_OK)
      << 4;
  return right;
}

static void a_child_process_is_told_that_handles_are_its_parents(const world* w) {
  service s = open_service(w);
  realm_request* request = NULL;
  pid_t child = 0;
  int status = 0;
  EXPECT(realm_request_submit(s.tenant, capital_of_france, 8, NULL, &request) == REALM_OK);
  child = fork();
  if (child == 0) _exit(what_a_child_sees(&s, request));
  EXPECT(waitpid(child, &status, 0) == child);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 31);
  EXPECT(realm_request_wait(request, -1, NULL) == REALM_OK);
  EXPECT(realm_request_free(request) == REALM_OK);
  close_service(&s);
}

void test_handles(const world* w) {
  no_handle_is_refused_everywhere();
  a_pointer_that_is_no_handle_is_not_looked_through();
  another_kind_of_handle_is_told();
  a_handle_that_was_freed_stays_so();
  everything_may_outlive_its_runtime(w);
  a_child_process_is_told_that_handles_are_its_parents(w);
}
