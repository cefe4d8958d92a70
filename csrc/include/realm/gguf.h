/* GGUF files by themselves: what tensors and texts are in them. Part of realm.h; plain C99.
 *
 * Opening validates the whole directory of the file, so that every later look-up is within bounds.
 * A realm_gguf may be read by many threads at once. What it gives out lives until it is closed.
 */
#ifndef REALM_GGUF_H
#define REALM_GGUF_H

#include <stddef.h>
#include <stdint.h>

#include "realm/api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One tensor. Set struct_size to sizeof(realm_tensor_info) before the call. */
typedef struct realm_tensor_info {
  size_t struct_size;
  const char* name; /* not terminated */
  size_t name_length;
  const char* format; /* "F32", "Q4_K", ...; terminated, never freed */
  uint32_t rank;
  uint64_t shape[4]; /* outermost extent first */
  uint64_t offset;   /* of the first byte in its file */
  uint64_t bytes;    /* encoded */
} realm_tensor_info;

/* Opens a file; of a split model, name the first part. REALM_ERROR_IO, REALM_ERROR_FORMAT. */
REALM_API int realm_gguf_open(const char* path, size_t path_length, realm_gguf** out);

/* Reads a file in memory without copying it: `data` must stay, unchanged, until the close.
 * REALM_ERROR_FORMAT. */
REALM_API int realm_gguf_open_memory(const void* data, size_t size, realm_gguf** out);

/* Frees the object and everything it gave out. NULL is allowed. */
REALM_API int realm_gguf_close(realm_gguf* gguf);

REALM_API int realm_gguf_tensor_count(const realm_gguf* gguf, uint64_t* out);

/* The tensor at `index`, in file order. REALM_ERROR_INVALID_REQUEST if there is none. */
REALM_API int realm_gguf_tensor(const realm_gguf* gguf, uint64_t index, realm_tensor_info* out);

/* The text under `key`; its bytes are as the file has them, mostly UTF-8.
 * REALM_ERROR_INVALID_REQUEST if the key is absent or its value is not a text. */
REALM_API int realm_gguf_metadata_string(const realm_gguf* gguf, const char* key, size_t key_length,
                                         const char** text, size_t* length);

#ifdef __cplusplus
}
#endif

#endif
