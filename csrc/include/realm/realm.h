/* realm: an LLM inference engine that lives inside your process. The C interface, plain C99.
 *
 * Every function that can fail returns a status: REALM_OK (0), or a negative code of error_code.h.
 * After a failure realm_last_error() has the text; outputs are then untouched. No function prints,
 * exits, or throws.
 *
 * Texts and ids are a pointer and a length, and need no terminating zero. A pointer that a function
 * gives out lives as long as the object it came from, unless its comment says otherwise.
 *
 * Threads: an object that is only read (every const parameter) may be used by many threads at once.
 * Closing an object while another thread uses it is an error of the caller.
 */
#ifndef REALM_REALM_H
#define REALM_REALM_H

#include <stddef.h>
#include <stdint.h>

#include "realm/error_code.h"

#if defined(_WIN32) && defined(REALM_BUILDING_LIBRARY)
#define REALM_API __declspec(dllexport)
#elif defined(_WIN32)
#define REALM_API __declspec(dllimport)
#else
#define REALM_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0": the version of the library that runs, which may be newer than this header. Never fails.
 */
REALM_API const char* realm_version(void);

/* Why the last failed call on this thread failed; "" if none did. Valid until the next failure on
 * this thread. */
REALM_API const char* realm_last_error(void);

/* "format", "out of memory", ...; "unknown status" for a number that is no status. Never fails. */
REALM_API const char* realm_status_name(int status);

/* ---- GGUF files
 * -------------------------------------------------------------------------------------------
 * Opening validates the whole directory of the file, so that every later look-up is within bounds.
 */

typedef struct realm_gguf realm_gguf;

/* One tensor. Set struct_size to sizeof(realm_tensor_info) before the call: a newer library fills
 * only what your header knows. */
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
REALM_API void realm_gguf_close(realm_gguf* gguf);

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
