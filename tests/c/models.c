/* Models: from a file, from memory, with a draft; what is listed, and what unloading does. */
#include "expect.h"

static void a_model_is_described_and_decodes(const world* w) {
  service s = open_service(w);
  realm_model_info info = {.struct_size = sizeof info};
  realm_model_usage usage = {.struct_size = sizeof usage};
  char text[64] = "untouched";
  size_t length = 0, count = 0;

  EXPECT(realm_model_describe(s.runtime, TEXT("demo"), &info) == REALM_OK);
  EXPECT(info.n_vocab == 1024 && info.n_embd == 256 && info.n_layers == 4 && info.n_ctx == 512);
  EXPECT(info.n_heads == 4 && info.n_kv_heads == 2 && info.head_width == 64);
  EXPECT(info.bos_token == capital_of_france[0] && info.eos_token >= 0);
  EXPECT(info.is_draft == 0 && info.has_draft == 0 && info.n_tenants == 1);
  EXPECT(info.weight_bytes > 1000000);
  EXPECT_REFUSED(realm_model_describe(s.runtime, TEXT("other"), &info), "'other'");

  EXPECT(realm_decode_tokens(s.runtime, TEXT("demo"), capital_of_france + 1, 7, NULL, 0, &length) ==
         REALM_OK);
  EXPECT(length == strlen("The capital of France is"));
  EXPECT(realm_decode_tokens(s.runtime, TEXT("demo"), capital_of_france + 1, 7, text, length - 1,
                             &length) == REALM_OK);
  EXPECT(strcmp(text, "untouched") == 0);
  EXPECT(realm_decode_tokens(s.runtime, TEXT("demo"), capital_of_france + 1, 7, text, 64,
                             &length) == REALM_OK);
  EXPECT(memcmp(text, "The capital of France is", length) == 0);
  {
    const int32_t beyond = 1024;
    EXPECT_REFUSED(realm_decode_tokens(s.runtime, TEXT("demo"), &beyond, 1, text, 64, &length),
                   "1024");
  }

  EXPECT(realm_model_count(s.runtime, &count) == REALM_OK && count == 1);
  EXPECT(realm_model_at(s.runtime, 0, text, 64, &length, NULL) == REALM_OK);
  EXPECT(length == 4 && memcmp(text, "demo", 4) == 0);
  EXPECT_REFUSED(realm_model_at(s.runtime, 1, text, 64, &length, NULL), "model 1 of 1");
  EXPECT(realm_stats(s.runtime, TEXT("demo"), &usage) == REALM_OK && usage.total_requests == 0);
  EXPECT_REFUSED(realm_stats(s.runtime, TEXT("other"), &usage), "'other'");
  close_service(&s);
}

static void wrong_files_and_ids_have_their_codes(const world* w) {
  service s = open_service(w);
  char* path = path_in(w->demo, "target.gguf");
  size_t count = 0;
  EXPECT_FAILS(realm_model_load(s.runtime, TEXT("b"), TEXT("no such file"), NULL), REALM_ERROR_IO,
               "no such file");
  EXPECT_REFUSED(realm_model_load(s.runtime, TEXT("demo"), path, strlen(path), NULL), "'demo'");
  EXPECT_REFUSED(realm_model_load(s.runtime, TEXT(""), path, strlen(path), NULL), "model_id");
  EXPECT_REFUSED(realm_model_load(s.runtime, NULL, 4, path, strlen(path), NULL),
                 "model_id is NULL, with a length of 4");
  EXPECT_REFUSED(realm_model_load(s.runtime, TEXT("b"), path, SIZE_MAX, NULL),
                 "path has a length of ");
  EXPECT_REFUSED(realm_model_load(s.runtime, TEXT("b"), TEXT("a\0b"), NULL),
                 "path is 'a\\x00b', with a zero byte");
  EXPECT_REFUSED(realm_model_load(s.runtime, TEXT("b"), TEXT(""), NULL), "path is empty");
  EXPECT_FAILS(realm_store_model(s.runtime, TEXT("this is no model"), TEXT("b")),
               REALM_ERROR_FORMAT, "magic");
  EXPECT_REFUSED(realm_store_model(s.runtime, NULL, 0, TEXT("b")), "data is empty");
  EXPECT_REFUSED(realm_model_unload(s.runtime, TEXT("b")), "'b'");
  EXPECT(realm_model_count(s.runtime, &count) == REALM_OK && count == 1);
  free(path);
  close_service(&s);
}

static void a_model_from_memory_answers_as_from_its_file(const world* w) {
  service s = open_service(w);
  char* path = path_in(w->demo, "target.gguf");
  size_t size = 0;
  char* kept = contents_of(path, &size);
  char* copied = contents_of(path, &size);
  realm_tenant* tenants[2] = {NULL, NULL};
  answer from_file, from_memory;
  int i;

  EXPECT(realm_model_load_from_memory(s.runtime, TEXT("kept"), kept, size) == REALM_OK);
  EXPECT(realm_store_model(s.runtime, copied, size, TEXT("copied")) == REALM_OK);
  memset(copied, 0xee, size);
  free(copied);
  EXPECT(realm_tenant_get_or_create(s.runtime, TEXT("main"), TEXT("kept"), NULL, &tenants[0]) ==
         REALM_OK);
  EXPECT(realm_tenant_get_or_create(s.runtime, TEXT("main"), TEXT("copied"), NULL, &tenants[1]) ==
         REALM_OK);
  {
    const realm_sampling_params params = greedy(8);
    const realm_request_options options = with_params(&params);
    ask(s.tenant, &options, &from_file);
    for (i = 0; i < 2; ++i) {
      ask(tenants[i], &options, &from_memory);
      EXPECT(from_memory.n_bytes > 0 && strcmp(from_memory.bytes, from_file.bytes) == 0);
      EXPECT(realm_tenant_free(tenants[i]) == REALM_OK);
    }
  }
  close_service(&s);
  free(kept);
  free(path);
}

/* Guesses change nothing but the number of forwards. */
static void expect_good_guesses(realm_tenant* tenant) {
  realm_sampling_params params;
  realm_speculative_config guesses;
  realm_request_options options;
  realm_request_report report = {.struct_size = sizeof report};
  realm_request* request = NULL;
  answer plain, guessed;
  char status[64];
  size_t length = 0;

  params = greedy(24);
  options = with_params(&params);
  options.plain = 1;
  ask(tenant, &options, &plain);
  options.plain = 0;
  EXPECT(realm_speculative_config_init(&guesses, sizeof guesses) == REALM_OK);
  guesses.adaptive = 0;
  options.speculative = &guesses;
  EXPECT(realm_generate(tenant, capital_of_france, 8, &options, &request) == REALM_OK);
  EXPECT(realm_request_describe(request, &report) == REALM_OK);
  EXPECT(report.accepted > 8 && report.drafted >= report.accepted);
  EXPECT(report.verifications > 0 && report.verifications < 16);
  EXPECT(realm_request_speculation(request, status, sizeof status, &length) == REALM_OK);
  EXPECT(length >= 2 && memcmp(status, "on", 2) == 0);
  take_answer(request, &guessed);
  EXPECT(guessed.n_tokens == plain.n_tokens);
  EXPECT(memcmp(guessed.tokens, plain.tokens, plain.n_tokens * sizeof(int32_t)) == 0);
}

static void a_draft_comes_with_its_model_or_before_it(const world* w) {
  char* target = path_in(w->demo, "target.gguf");
  char* draft = path_in(w->demo, "draft.gguf");
  size_t target_size = 0, draft_size = 0, count = 0;
  char* target_data = contents_of(target, &target_size);
  char* draft_data = contents_of(draft, &draft_size);
  realm_runtime* runtime = NULL;
  realm_tenant* tenant = NULL;
  realm_model_options options;
  realm_model_info info = {.struct_size = sizeof info};

  EXPECT(realm_runtime_create(NULL, &runtime) == REALM_OK);
  EXPECT(realm_model_options_init(&options, sizeof options) == REALM_OK);
  options.draft_path.data = draft;
  options.draft_path.length = strlen(draft);
  EXPECT(realm_model_load(runtime, TEXT("file"), target, strlen(target), &options) == REALM_OK);
  EXPECT(realm_model_describe(runtime, TEXT("file"), &info) == REALM_OK && info.has_draft == 1);
  EXPECT(realm_model_describe(runtime, TEXT("file_draft"), &info) == REALM_OK);
  EXPECT(info.is_draft == 1 && info.n_layers == 2);
  EXPECT(realm_tenant_get_or_create(runtime, TEXT("main"), TEXT("file"), NULL, &tenant) ==
         REALM_OK);
  expect_good_guesses(tenant);
  EXPECT(realm_tenant_free(tenant) == REALM_OK);
  EXPECT(realm_model_unload(runtime, TEXT("file")) == REALM_OK);
  EXPECT(realm_model_count(runtime, &count) == REALM_OK && count == 0);

  EXPECT(realm_store_draft_model(runtime, draft_data, draft_size, TEXT("memory")) == REALM_OK);
  EXPECT(realm_store_model(runtime, target_data, target_size, TEXT("memory")) == REALM_OK);
  EXPECT(realm_tenant_get_or_create(runtime, TEXT("main"), TEXT("memory"), NULL, &tenant) ==
         REALM_OK);
  expect_good_guesses(tenant);
  EXPECT(realm_tenant_free(tenant) == REALM_OK);
  EXPECT(realm_runtime_destroy(runtime) == REALM_OK);
  free(target_data);
  free(draft_data);
  free(target);
  free(draft);
}

static void unloading_ends_what_runs(const world* w) {
  service s = open_service(w);
  realm_request* request = NULL;
  realm_request_report report = {.struct_size = sizeof report};
  realm_sampling_params params = greedy(400);
  realm_request_options options = with_params(&params);
  params.ignore_eos = 1;
  EXPECT(realm_request_submit(s.tenant, capital_of_france, 8, &options, &request) == REALM_OK);
  EXPECT(realm_model_unload(s.runtime, TEXT("demo")) == REALM_OK);
  wait_for_end(request, &report);
  EXPECT(report.finish == REALM_FINISH_CANCELLED);
  EXPECT(realm_request_free(request) == REALM_OK);
  close_service(&s);
}

void test_models(const world* w) {
  a_model_is_described_and_decodes(w);
  wrong_files_and_ids_have_their_codes(w);
  a_model_from_memory_answers_as_from_its_file(w);
  a_draft_comes_with_its_model_or_before_it(w);
  unloading_ends_what_runs(w);
}
