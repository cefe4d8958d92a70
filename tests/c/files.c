/* GGUF files by themselves. */
#include <stddef.h>

#include "expect.h"

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
  EXPECT(realm_gguf_close(gguf) == REALM_OK);
  EXPECT_REFUSED(realm_gguf_close(gguf), "was freed");
  EXPECT(realm_gguf_close(NULL) == REALM_OK);
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

void test_files(const world* w) {
  char* path = path_in(w->golden, "arch/llama/model-f32.gguf");
  a_file_shows_its_tensors_and_texts(path);
  wrong_arguments_are_refused_and_explained(path);
  a_smaller_struct_of_an_older_header_is_not_overrun(path);
  missing_and_malformed_files_have_their_codes();
  free(path);
}
