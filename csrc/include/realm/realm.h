/* realm: an LLM inference engine that lives inside your process. The C interface, plain C99.
 *
 *   realm_runtime* runtime = NULL;             models, adapters and tenants; as many as you like
 *   realm_tenant* tenant = NULL;               who asks: a share of the work, limits, an adapter
 *   realm_request* request = NULL;             one prompt and its answer
 *   char text[256];
 *   size_t n = 0;
 *   int32_t ended = 0;
 *
 *   realm_runtime_create(NULL, &runtime);
 *   realm_model_load(runtime, "demo", 4, path, strlen(path), NULL);
 *   realm_tenant_get_or_create(runtime, "main", 4, "demo", 4, NULL, &tenant);
 *   realm_request_submit(tenant, prompt, n_prompt, NULL, &request);
 *   while (!ended && realm_request_take(request, NULL, 0, NULL, text, 256, &n, &ended) == REALM_OK)
 *     if (fwrite(text, 1, n, stdout) == 0 && !ended) realm_request_wait(request, -1, NULL);
 *
 * Every function returns a status: REALM_OK (0), or a negative code of error_code.h. After a
 * failure realm_last_error() has the text, which names the argument or field and its value; outputs
 * are then untouched, and every object is as it was before. No function prints, exits, aborts,
 * throws or calls back into your program.
 *
 * Handles. A handle is a pointer in name only: never look through it. NULL, a handle that was
 * freed, one of another kind, or one that was never given out is refused with
 * REALM_ERROR_INVALID_REQUEST, by every function; only the functions that free take NULL and do
 * nothing. Handles stand in no order: free them as you like. A tenant, a request or a session
 * outlives the runtime it came from, says that it has ended, and is still to be freed.
 *
 * Threads. A runtime, a tenant, a request and a GGUF file may be used from any threads at once, and
 * a handle may be freed while another thread is in a call with it: the object goes when that call
 * has returned. A session belongs to one thread at a time.
 *
 * Processes. In a child process after fork, handles of the parent are refused with
 * REALM_ERROR_FORKED; make new ones there.
 *
 * Texts and ids are a pointer and a length, and need no terminating zero; ids of models, adapters
 * and tenants are compared byte by byte. Token ids go in, token ids and bytes come out: text is
 * turned into ids by your program, or by the Python package.
 *
 * Texts that a function writes come into your buffer: `length` gets the length of the whole text,
 * and the buffer the text if it has room for all of it (nothing is terminated). So a call with
 * (NULL, 0) asks for the length.
 *
 * Structs and what they hold are in structs.h, files by themselves in gguf.h, a model's layers one
 * by one in session.h. This header includes them all. C++ programs may prefer realm.hpp.
 */
#ifndef REALM_REALM_H
#define REALM_REALM_H

#include <stddef.h>
#include <stdint.h>

#include "realm/api.h"
#include "realm/error_code.h"
#include "realm/gguf.h"
#include "realm/session.h"
#include "realm/structs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header. A library of the same first two numbers, or, from 1.0 on, of the same
 * first number and not older, runs what was compiled with it. */
#define REALM_HEADER_VERSION "0.1.0"

/* "0.1.0": the version of the library that runs. Never fails. */
REALM_API const char* realm_version(void);

/* Why the last failed call on this thread failed; "" if none did. Valid until the next failure on
 * this thread. */
REALM_API const char* realm_last_error(void);

/* "format", "out of memory", ...; "unknown status" for a number that is no status. Never fails. */
REALM_API const char* realm_status_name(int status);

/* ---- options -----------------------------------------------------------------------------------
 * Each fills a struct of structs.h with the defaults, and sets its struct_size, which is
 * sizeof(*out).
 */

REALM_API int realm_runtime_options_init(realm_runtime_options* out, size_t struct_size);
REALM_API int realm_model_options_init(realm_model_options* out, size_t struct_size);
REALM_API int realm_quota_init(realm_quota* out, size_t struct_size);
REALM_API int realm_tenant_options_init(realm_tenant_options* out, size_t struct_size);
REALM_API int realm_sampling_params_init(realm_sampling_params* out, size_t struct_size);
REALM_API int realm_speculative_config_init(realm_speculative_config* out, size_t struct_size);
REALM_API int realm_request_options_init(realm_request_options* out, size_t struct_size);

/* ---- runtimes ----------------------------------------------------------------------------------
 */

/* A runtime with nothing in it. `options` may be NULL. */
REALM_API int realm_runtime_create(const realm_runtime_options* options, realm_runtime** out);

/* Ends every request with REALM_FINISH_CANCELLED, releases tenants and models, and returns when the
 * threads of the runtime have ended. NULL is allowed. */
REALM_API int realm_runtime_destroy(realm_runtime* runtime);

/* Figures of all models and tenants, as Prometheus reads them (text format 0.0.4). */
REALM_API int realm_metrics(realm_runtime* runtime, char* buffer, size_t capacity, size_t* length);

/* ---- models ------------------------------------------------------------------------------------
 * A model is in memory once, however many tenants use it. Its id is 1 to 128 bytes, without control
 * characters; an id that is taken is refused. What is loaded is all there or not at all.
 * REALM_ERROR_FORMAT for a file that is no model, or none that can be computed;
 * REALM_ERROR_OUT_OF_MEMORY.
 */

/* Loads a GGUF file, and the draft model if the options name one. `options` may be NULL. */
REALM_API int realm_model_load(realm_runtime* runtime, const char* model_id, size_t model_id_length,
                               const char* path, size_t path_length,
                               const realm_model_options* options);

/* Loads the contents of a GGUF file without copying them: `data` must stay, unchanged, until the
 * model is unloaded, and every session on it is freed. The draft is the one under
 * "{model_id}_draft" if there is one. */
REALM_API int realm_model_load_from_memory(realm_runtime* runtime, const char* model_id,
                                           size_t model_id_length, const void* data, size_t size);

/* The same with a copy of the contents: `data` may go when the call returns. */
REALM_API int realm_store_model(realm_runtime* runtime, const void* data, size_t size,
                                const char* model_id, size_t model_id_length);

/* Loads the contents of a GGUF file as the draft "{model_id}_draft", which guesses ahead for that
 * model, before or after the model itself, but before it has tenants. Copies them.
 * REALM_ERROR_INVALID_REQUEST if the tokens of the two are not the same. */
REALM_API int realm_store_draft_model(realm_runtime* runtime, const void* data, size_t size,
                                      const char* model_id, size_t model_id_length);

/* Ends the requests on the model with REALM_FINISH_CANCELLED, and releases its tenants and
 * adapters, and a draft that no other model has. */
REALM_API int realm_model_unload(realm_runtime* runtime, const char* model_id,
                                 size_t model_id_length);

/* What is loaded, drafts included: the number of models, and the one at `index`, by id. Its id
 * comes into the buffer. `info` may be NULL. */
REALM_API int realm_model_count(realm_runtime* runtime, size_t* out);
REALM_API int realm_model_at(realm_runtime* runtime, size_t index, char* model_id, size_t capacity,
                             size_t* length, realm_model_info* info);

/* The model of an id. */
REALM_API int realm_model_describe(realm_runtime* runtime, const char* model_id,
                                   size_t model_id_length, realm_model_info* info);

/* The bytes that tokens stand for; they need not be UTF-8. Special tokens have their names.
 * REALM_ERROR_INVALID_REQUEST for an id outside the vocabulary, or a model that has none. */
REALM_API int realm_decode_tokens(realm_runtime* runtime, const char* model_id,
                                  size_t model_id_length, const int32_t* tokens, size_t n_tokens,
                                  char* buffer, size_t capacity, size_t* length);

/* What the model's engine did so far. */
REALM_API int realm_stats(realm_runtime* runtime, const char* model_id, size_t model_id_length,
                          realm_model_usage* out);

/* ---- adapters ----------------------------------------------------------------------------------
 * LoRA adapters beside the weights, which stay as they are. One may be loaded before its model:
 * then it is fitted when that is loaded. An adapter that does not fit whole is refused with
 * REALM_ERROR_ADAPTER, and the text lists every tensor that was refused.
 */

/* Loads a PEFT folder, a safetensors file or a GGUF adapter. An id that is taken goes to the new
 * adapter; requests that run keep the one they have. */
REALM_API int realm_adapter_load(realm_runtime* runtime, const char* adapter_id,
                                 size_t adapter_id_length, const char* path, size_t path_length,
                                 const char* model_id, size_t model_id_length);

/* The same from the contents of a safetensors file or a GGUF adapter, which are copied. `config` is
 * the text of an adapter_config.json; it may be empty if the file says enough by itself. */
REALM_API int realm_adapter_load_from_memory(realm_runtime* runtime, const char* adapter_id,
                                             size_t adapter_id_length, const void* data,
                                             size_t size, const char* config, size_t config_length,
                                             const char* model_id, size_t model_id_length);

/* Requests of tenants that have it set fail from now on, until they are given another. */
REALM_API int realm_adapter_unload(realm_runtime* runtime, const char* adapter_id,
                                   size_t adapter_id_length);

/* The number of adapters, and the one at `index`, by id. Its id comes into the buffer. `info` may
 * be NULL. */
REALM_API int realm_adapter_count(realm_runtime* runtime, size_t* out);
REALM_API int realm_adapter_at(realm_runtime* runtime, size_t index, char* adapter_id,
                               size_t capacity, size_t* length, realm_adapter_info* info);

/* The adapter of a model's tenants for which none is set: from their next request on, and for those
 * that come later. An empty adapter id takes it away. REALM_ERROR_INVALID_REQUEST for an adapter
 * that is not loaded, or is another model's. */
REALM_API int realm_set_lora_adapter(realm_runtime* runtime, const char* model_id,
                                     size_t model_id_length, const char* adapter_id,
                                     size_t adapter_id_length);

/* The adapter of one tenant, from its next request on, also if the tenant comes later. An empty
 * adapter id takes it away. REALM_ERROR_INVALID_REQUEST for an adapter that is not loaded,
 * REALM_ERROR_QUOTA_EXCEEDED for one above the tenant's adapter_bytes. */
REALM_API int realm_tenant_set_lora_adapter(realm_runtime* runtime, const char* tenant_id,
                                            size_t tenant_id_length, const char* adapter_id,
                                            size_t adapter_id_length);

/* ---- tenants -----------------------------------------------------------------------------------
 * Who asks. Nothing of one tenant reaches another: text, keys and values, adapter, draws, errors,
 * or what the prefix cache keeps of its prompts. A tenant id is 3 to 64 of A-Z, a-z, 0-9, _ and -.
 */

/* The tenant on a model that is loaded; on several models it has a handle for each, and quota and
 * counters are those of each. `options` may be NULL. REALM_ERROR_INVALID_REQUEST for a living
 * tenant with other terms. */
REALM_API int realm_tenant_get_or_create(realm_runtime* runtime, const char* tenant_id,
                                         size_t tenant_id_length, const char* model_id,
                                         size_t model_id_length,
                                         const realm_tenant_options* options, realm_tenant** out);

/* Frees the handle; the tenant lives on. NULL is allowed. */
REALM_API int realm_tenant_free(realm_tenant* tenant);

/* Ends the tenant, on all models: its requests end with REALM_FINISH_CANCELLED, and its adapter and
 * counters are forgotten. */
REALM_API int realm_tenant_release(realm_runtime* runtime, const char* tenant_id,
                                   size_t tenant_id_length);

/* What the tenant had so far; also readable after its release. */
REALM_API int realm_tenant_stats(realm_tenant* tenant, realm_tenant_usage* out);

/* ---- requests ----------------------------------------------------------------------------------
 * A request runs on the runtime's own thread, together with all others of its model, and has the
 * answer that it would have alone. Nothing calls back: poll or wait, and take.
 */

/* Hands in a prompt and returns at once. `options` may be NULL. REALM_ERROR_INVALID_REQUEST for a
 * prompt that is empty, above the context, or has ids outside the vocabulary;
 * REALM_ERROR_QUOTA_EXCEEDED, with the limit and the value, above the tenant's quota. */
REALM_API int realm_request_submit(realm_tenant* tenant, const int32_t* prompt, size_t n_prompt,
                                   const realm_request_options* options, realm_request** out);

/* The same, and waits for the end of the answer, which is then to be taken from the request. A
 * failure of the answer is the failure of the call, and there is no request then; an answer that
 * was cancelled or ran into its deadline is an answer. */
REALM_API int realm_generate(realm_tenant* tenant, const int32_t* prompt, size_t n_prompt,
                             const realm_request_options* options, realm_request** out);

/* Whether there is something to take: a part of the answer, or its end. */
REALM_API int realm_request_poll(realm_request* request, int32_t* ready);

/* The same after at most `timeout_ms`, at once if there is something; negative: no limit. `ready`
 * may be NULL. */
REALM_API int realm_request_wait(realm_request* request, int64_t timeout_ms, int32_t* ready);

/* Takes what has come of the answer since the last call, as much as fits; the rest stays. Bytes are
 * whole characters as they come, and are cut only by the capacity. `ended` becomes 1 when the
 * answer has ended and all of it was taken. A buffer that is NULL, with its capacity 0 and its
 * count NULL, is for what you do not want: that is dropped. */
REALM_API int realm_request_take(realm_request* request, int32_t* tokens, size_t token_capacity,
                                 size_t* n_tokens, char* bytes, size_t byte_capacity,
                                 size_t* n_bytes, int32_t* ended);

/* Takes log-probabilities, if params.logprobs asked for them: for each token of the answer
 * 1 + params.logprobs records, its own and those of the most likely tokens. Takes whole tokens. */
REALM_API int realm_request_take_logprobs(realm_request* request, realm_token_logprob* out,
                                          size_t capacity, size_t* count);

/* Ends the answer soon, with REALM_FINISH_CANCELLED and what it has so far. No effect on an answer
 * that has ended. */
REALM_API int realm_request_cancel(realm_request* request);

REALM_API int realm_request_describe(realm_request* request, realm_request_report* out);

/* Why the answer failed; empty if it did not. */
REALM_API int realm_request_error(realm_request* request, char* buffer, size_t capacity,
                                  size_t* length);

/* What guessing does for this request: "off", "on", or "on: " or "failed: " and why nothing is
 * guessed. */
REALM_API int realm_request_speculation(realm_request* request, char* buffer, size_t capacity,
                                        size_t* length);

/* Frees the request, and cancels it if it has not ended. NULL is allowed. */
REALM_API int realm_request_free(realm_request* request);

#ifdef __cplusplus
}
#endif

#endif
