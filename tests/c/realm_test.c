/* The C interface, used from C99 as a stranger would: realm_test GOLDEN_FOLDER. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <realm/realm.h>

static int failures = 0;

#define EXPECT(condition)                                                            \
  do {                                                                               \
    if (!(condition)) {                                                              \
      ++failures;                                                                    \
      fprintf(stderr, "%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #condition, \
              realm_last_error());                                                   \
    }                                                                                \
  } while (0)

static int text_is(const char* text, size_t length, const char* expected) {
  return length == strlen(expected) && memcmp(text, expected, length) == 0;
}

static void a_file_shows_its_tensors_and_texts(const char* path) {
  realm_gguf* gguf = NULL;
  uint64_t count = 0;
  realm_tensor_info info;
  const char* text = NULL;
  size_t length = 0;

  EXPECT(realm_gguf_open(path, strlen(path), &gguf) == REALM_OK);
  if (gguf == NULL) return;
  EXPECT(realm_gguf_tensor_count(gguf, &count) == REALM_OK && count == 21);
  info.struct_size = sizeof info;
  EXPECT(realm_gguf_tensor(gguf, 0, &info) == REALM_OK);
  EXPECT(strcmp(info.format, "F32") == 0 && info.rank >= 1 && info.bytes > 0);
  EXPECT(realm_gguf_metadata_string(gguf, "general.architecture", 20, &text, &length) == REALM_OK);
  EXPECT(text_is(text, length, "llama"));
  realm_gguf_close(gguf);
}

static void wrong_arguments_are_refused_and_explained(const char* path) {
  realm_gguf* gguf = NULL;
  realm_tensor_info info;
  const char* text = NULL;
  size_t length = 0;

  EXPECT(realm_gguf_open(path, strlen(path), NULL) == REALM_ERROR_INVALID_REQUEST);
  EXPECT(realm_gguf_open(path, strlen(path), &gguf) == REALM_OK);
  if (gguf == NULL) return;
  info.struct_size = sizeof info;
  EXPECT(realm_gguf_tensor(gguf, 21, &info) == REALM_ERROR_INVALID_REQUEST);
  EXPECT(strstr(realm_last_error(), "tensor 21 of 21") != NULL);
  info.struct_size = 0;
  EXPECT(realm_gguf_tensor(gguf, 0, &info) == REALM_ERROR_INVALID_REQUEST);
  EXPECT(realm_gguf_metadata_string(gguf, "no.key", 6, &text, &length) ==
         REALM_ERROR_INVALID_REQUEST);
  EXPECT(realm_gguf_metadata_string(gguf, "llama.block_count", 17, &text, &length) ==
         REALM_ERROR_INVALID_REQUEST);
  EXPECT(text == NULL && length == 0);
  realm_gguf_close(gguf);
  realm_gguf_close(NULL);
}

static void a_smaller_struct_of_an_older_header_is_not_overrun(const char* path) {
  realm_gguf* gguf = NULL;
  realm_tensor_info info;

  EXPECT(realm_gguf_open(path, strlen(path), &gguf) == REALM_OK);
  if (gguf == NULL) return;
  memset(&info, 0xee, sizeof info);
  info.struct_size = offsetof(realm_tensor_info, format);
  EXPECT(realm_gguf_tensor(gguf, 0, &info) == REALM_OK);
  EXPECT(info.struct_size == offsetof(realm_tensor_info, format));
  EXPECT(info.name_length > 0 && info.rank == 0xeeeeeeee);
  realm_gguf_close(gguf);
}

static void missing_and_malformed_files_have_their_codes(void) {
  static const char garbage[64] = "this is no model";
  realm_gguf* gguf = NULL;

  EXPECT(realm_gguf_open("no such file", 12, &gguf) == REALM_ERROR_IO);
  EXPECT(strstr(realm_last_error(), "no such file") != NULL);
  EXPECT(realm_gguf_open_memory(garbage, sizeof garbage, &gguf) == REALM_ERROR_FORMAT);
  EXPECT(realm_gguf_open_memory(NULL, 0, &gguf) == REALM_ERROR_FORMAT);
  EXPECT(gguf == NULL);
}

static void every_code_has_a_name(void) {
  int status;
  for (status = REALM_ERROR_FORKED; status <= REALM_OK; ++status) {
    EXPECT(strcmp(realm_status_name(status), "unknown status") != 0);
  }
  EXPECT(strcmp(realm_status_name(1), "unknown status") == 0);
  EXPECT(strlen(realm_version()) >= 5);
}

int main(int argc, char** argv) {
  char path[4096];
  if (argc != 2) return 2;
  snprintf(path, sizeof path, "%s/arch/llama/model-f32.gguf", argv[1]);
  a_file_shows_its_tensors_and_texts(path);
  wrong_arguments_are_refused_and_explained(path);
  a_smaller_struct_of_an_older_header_is_not_overrun(path);
  missing_and_malformed_files_have_their_codes();
  every_code_has_a_name();
  printf("%d failures\n", failures);
  return failures != 0;
}
