/* What the C programs of the tests share: expectations that are counted and explained. */
#ifndef REALM_TESTS_C_EXPECT_H
#define REALM_TESTS_C_EXPECT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <realm/realm.h>

extern int expectations, failures;

#define EXPECT(condition)                                                            \
  do {                                                                               \
    ++expectations;                                                                  \
    if (!(condition)) {                                                              \
      ++failures;                                                                    \
      fprintf(stderr, "%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #condition, \
              realm_last_error());                                                   \
    }                                                                                \
  } while (0)

/* The call fails with `code`, and the text says `words`. */
#define EXPECT_FAILS(call, code, words)                  \
  do {                                                   \
    EXPECT((call) == (code));                            \
    EXPECT(strstr(realm_last_error(), (words)) != NULL); \
  } while (0)

/* It is refused as the caller's fault. */
#define EXPECT_REFUSED(call, words) EXPECT_FAILS(call, REALM_ERROR_INVALID_REQUEST, words)

/* A literal as pointer and length. */
#define TEXT(literal) (literal), sizeof(literal) - 1

/* Files of the tests. */
typedef struct world {
  const char* golden; /* tests/golden */
  const char* demo;   /* the folder of the demo models */
} world;

/* "FOLDER/name", to be freed. */
char* path_in(const char* folder, const char* name);
/* The contents of a file, to be freed. */
char* contents_of(const char* path, size_t* size);

/* "The capital of France is", as the demo's tokenizer cuts it. */
extern const int32_t capital_of_france[8];

/* A runtime with the demo model under the id "demo", and a tenant "main" on it. */
typedef struct service {
  realm_runtime* runtime;
  realm_tenant* tenant;
} service;
service open_service(const world* w);
void close_service(service* s);

/* Options that take the most likely token. */
realm_sampling_params greedy(int64_t max_tokens);
realm_request_options with_params(const realm_sampling_params* params);

/* An answer, with its bytes terminated. */
typedef struct answer {
  int32_t tokens[512];
  size_t n_tokens;
  char bytes[4096];
  size_t n_bytes;
} answer;
/* Takes all of it, waiting for the end, and frees the request. */
void take_answer(realm_request* request, answer* out);
/* Waits for the end of a request, dropping its answer. */
void wait_for_end(realm_request* request, realm_request_report* report);
/* Asks for the capital of France. */
void ask(realm_tenant* tenant, const realm_request_options* options, answer* out);

/* The parts of the program. */
void test_files(const world* w);
void test_options(const world* w);
void test_handles(const world* w);
void test_models(const world* w);
void test_adapters(const world* w);
void test_tenants(const world* w);
void test_requests(const world* w);
void test_layers(const world* w);

#endif
