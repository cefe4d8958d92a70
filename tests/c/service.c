/* What the parts of the test have in common: files, a runtime with the demo model, and answers. */
#include "expect.h"

const int32_t capital_of_france[8] = {1020, 269, 394, 293, 440, 342, 382, 259};

char* path_in(const char* folder, const char* name) {
  const size_t size = strlen(folder) + strlen(name) + 2;
  char* path = malloc(size);
  if (path == NULL) abort();
  snprintf(path, size, "%s/%s", folder, name);
  return path;
}

char* contents_of(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  char* data = NULL;
  long end = 0;
  if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (end = ftell(file)) < 0) abort();
  rewind(file);
  *size = (size_t)end;
  data = malloc(*size);
  if (data == NULL || fread(data, 1, *size, file) != *size) abort();
  fclose(file);
  return data;
}

service open_service(const world* w) {
  service s = {NULL, NULL};
  char* path = path_in(w->demo, "target.gguf");
  EXPECT(realm_runtime_create(NULL, &s.runtime) == REALM_OK);
  EXPECT(realm_model_load(s.runtime, TEXT("demo"), path, strlen(path), NULL) == REALM_OK);
  EXPECT(realm_tenant_get_or_create(s.runtime, TEXT("main"), TEXT("demo"), NULL, &s.tenant) ==
         REALM_OK);
  free(path);
  return s;
}

void close_service(service* s) {
  EXPECT(realm_tenant_free(s->tenant) == REALM_OK);
  EXPECT(realm_runtime_destroy(s->runtime) == REALM_OK);
  s->tenant = NULL;
  s->runtime = NULL;
}

realm_sampling_params greedy(int64_t max_tokens) {
  realm_sampling_params params;
  EXPECT(realm_sampling_params_init(&params, sizeof params) == REALM_OK);
  params.temperature = 0;
  params.max_tokens = max_tokens;
  return params;
}

realm_request_options with_params(const realm_sampling_params* params) {
  realm_request_options options;
  EXPECT(realm_request_options_init(&options, sizeof options) == REALM_OK);
  options.params = params;
  return options;
}

void take_answer(realm_request* request, answer* out) {
  int32_t ended = 0;
  memset(out, 0, sizeof *out);
  while (!ended) {
    size_t n_tokens = 0, n_bytes = 0;
    const int status = realm_request_take(request, out->tokens + out->n_tokens, 512 - out->n_tokens,
                                          &n_tokens, out->bytes + out->n_bytes,
                                          sizeof out->bytes - 1 - out->n_bytes, &n_bytes, &ended);
    EXPECT(status == REALM_OK);
    if (status != REALM_OK) break;
    out->n_tokens += n_tokens;
    out->n_bytes += n_bytes;
    if (!ended) EXPECT(realm_request_wait(request, -1, NULL) == REALM_OK);
  }
  EXPECT(realm_request_free(request) == REALM_OK);
}

void wait_for_end(realm_request* request, realm_request_report* report) {
  int32_t ended = 0;
  while (!ended) {
    EXPECT(realm_request_wait(request, -1, NULL) == REALM_OK);
    EXPECT(realm_request_take(request, NULL, 0, NULL, NULL, 0, NULL, &ended) == REALM_OK);
  }
  report->struct_size = sizeof *report;
  EXPECT(realm_request_describe(request, report) == REALM_OK);
}

void ask(realm_tenant* tenant, const realm_request_options* options, answer* out) {
  realm_request* request = NULL;
  memset(out, 0, sizeof *out);
  EXPECT(realm_generate(tenant, capital_of_france, 8, options, &request) == REALM_OK);
  if (request != NULL) take_answer(request, out);
}
