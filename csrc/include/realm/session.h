/* A model's layers one by one, for programs that look into the residual stream, change it, or run
 * layers of their own in between. Part of realm.h; plain C99.
 *
 * A session is one sequence: the keys and values of its tokens, and its position. A step is
 *
 *   realm_embed_tokens()      token ids          -> rows of n_embd floats, one for each token
 *   realm_forward_layer()     rows, in place     -> rows; once for each layer, from 0 upwards
 *   realm_compute_logits()    rows               -> rows of n_vocab floats
 *
 * with the rows in the caller's memory all the while. Left as they are between the calls, they give
 * the very bits of realm_prompt_logits(), which is the forward that answers requests, however the
 * tokens are cut into steps. The position moves on when the last layer has run.
 *
 * Floats must be finite: rows that are not are refused with REALM_ERROR_INVALID_REQUEST. Where
 * huge values make a layer or the head compute infinities, that is REALM_ERROR_FORMAT; the session
 * is then as before the call, but the floats that it was to write are undefined.
 *
 * One thread at a time uses a session; another is refused meanwhile with
 * REALM_ERROR_INVALID_REQUEST. Sessions and requests of one model take turns.
 */
#ifndef REALM_SESSION_H
#define REALM_SESSION_H

#include <stddef.h>
#include <stdint.h>

#include "realm/api.h"
#include "realm/structs.h"

#ifdef __cplusplus
extern "C" {
#endif

REALM_API int realm_session_options_init(realm_session_options* out, size_t struct_size);

/* A session on the tenant's model, with the adapter that the tenant has now. It keeps both in
 * memory until it is freed, also when they are unloaded or the runtime is destroyed meanwhile.
 * `options` may be NULL. REALM_ERROR_OUT_OF_MEMORY. */
REALM_API int realm_session_create(realm_tenant* tenant, const realm_session_options* options,
                                   realm_session** out);

/* Frees the session. NULL is allowed. */
REALM_API int realm_session_free(realm_session* session);

/* The number of tokens whose keys and values the session holds. */
REALM_API int realm_session_position(const realm_session* session, int64_t* out);

/* Gives up a step that was begun, and forgets everything from `position` on. */
REALM_API int realm_session_truncate(realm_session* session, int64_t position);

/* Writes one row for each token, as they look at the positions that come next. `n_floats` is the
 * size of `rows`: n_tokens * n_embd. Refused in the middle of a step. Changes nothing in the
 * session: rows of any origin may go into layer 0. */
REALM_API int realm_embed_tokens(realm_session* session, const int32_t* tokens, size_t n_tokens,
                                 float* rows, size_t n_floats);

/* Runs one layer over rows. Layer 0 begins a step, whose rows the other layers must then have, in
 * order; anything else is refused, and changes nothing. */
REALM_API int realm_forward_layer(realm_session* session, int64_t layer, float* rows,
                                  size_t n_floats);

/* The logits of rows that came from the last layer, or of any others. `n_floats` is a multiple of
 * n_embd; n_logits is the size of `logits`: n_vocab for each row. Changes nothing in the session.
 */
REALM_API int realm_compute_logits(realm_session* session, const float* rows, size_t n_floats,
                                   float* logits, size_t n_logits);

/* The logits of the last n_wanted of some tokens that begin a text, by the whole forward at once,
 * with the model and the adapter that a session of the tenant with these options would have.
 * n_logits is the size of `logits`: n_wanted * n_vocab. Keeps nothing. */
REALM_API int realm_prompt_logits(realm_tenant* tenant, const realm_session_options* options,
                                  const int32_t* tokens, size_t n_tokens, size_t n_wanted,
                                  float* logits, size_t n_logits);

#ifdef __cplusplus
}
#endif

#endif
