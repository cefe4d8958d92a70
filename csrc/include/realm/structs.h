/* The structs of realm.h: options that callers fill, and reports that they read. Plain C99.
 *
 * Every struct begins with struct_size. Set it to sizeof(the struct) before any call that takes the
 * struct: so a program built with an older header runs with a newer library, which then neither
 * reads nor writes beyond what the program knows.
 *
 * Options: set struct_size, call the init function, which fills in the defaults, then change what
 * you want. A function that takes a pointer to options takes NULL for the defaults. Whatever makes
 * no sense is refused with REALM_ERROR_INVALID_REQUEST, and realm_last_error() names the field and
 * its value. Options are copied before a function returns: what they point to may go then.
 *
 * Flags are int32_t, 0 or 1; another value is refused. Texts are a pointer and a length.
 */
#ifndef REALM_STRUCTS_H
#define REALM_STRUCTS_H

#include <stddef.h>
#include <stdint.h>

/* ---- values ------------------------------------------------------------------------------------
 */

/* Stands for "no limit", "not asked for" or "none" where a field's comment says so. */
#define REALM_NONE (-1)

/* A text that need not end in a zero. NULL with length 0 is the empty text. */
typedef struct realm_text {
  const char* data;
  size_t length;
} realm_text;

/* Added to the logit of one token; minus infinity forbids it. */
typedef struct realm_logit_bias {
  int32_t token;
  float bias;
} realm_logit_bias;

/* How keys and values are stored. It is part of what an answer's bits depend on. */
enum { REALM_KV_F32 = 0, REALM_KV_F16 = 1, REALM_KV_BF16 = 2, REALM_KV_Q8_0 = 3 };

/* Who guesses tokens ahead: the model's draft model, or what followed the last tokens when the
 * prompt or the answer had them before. */
enum { REALM_DRAFTER_MODEL = 0, REALM_DRAFTER_NGRAM = 1 };

/* When a guess stands. COUPLED: if it is the token that plain sampling draws with the request's
 * seed, so that the answer is the plain one whatever is guessed. REJECTION: with probability target
 * / draft; accepts more at high temperatures and is exact in law, but the text that a seed gives
 * then depends on what was guessed. */
enum { REALM_METHOD_COUPLED = 0, REALM_METHOD_REJECTION = 1 };

/* Where a request stands. */
enum { REALM_REQUEST_WAITING = 0, REALM_REQUEST_RUNNING = 1, REALM_REQUEST_FINISHED = 2 };

/* Why an answer ended. */
enum {
  REALM_FINISH_NONE = 0,      /* it has not */
  REALM_FINISH_STOP = 1,      /* an end-of-generation token, a stop token or a stop string */
  REALM_FINISH_LENGTH = 2,    /* max_tokens or the context is used up */
  REALM_FINISH_CANCELLED = 3, /* somebody did not want the rest */
  REALM_FINISH_DEADLINE = 4,  /* time was up */
  REALM_FINISH_ERROR = 5      /* `status` and realm_request_error() say which */
};

/* ---- options -----------------------------------------------------------------------------------
 */

/* How one request is sampled and when it ends. Filters apply in the order penalties, logit_bias,
 * temperature, top_k, top_p, min_p. A draw depends on the logits, these options, the seed and the
 * position, never on other requests. */
typedef struct realm_sampling_params {
  size_t struct_size;
  int64_t max_tokens; /* new tokens at most */
  double temperature; /* divides the logits; 0 takes the most likely token and draws nothing */
  int64_t top_k;      /* keeps this many of the most likely tokens; 0 keeps all */
  double top_p;       /* keeps the most likely tokens until their mass reaches this; 1 keeps all */
  double min_p;       /* keeps tokens at least this likely, relative to the most likely one */
  /* For tokens of prompt and answer: divides positive logits, multiplies negative ones. */
  double repetition_penalty;
  double presence_penalty;  /* subtracted once from the logits of tokens that the answer has */
  double frequency_penalty; /* subtracted as many times as the answer has the token */
  /* The noise of every draw follows from the seed. Without one the request gets a fresh one, which
   * its report names. */
  int32_t has_seed;
  int32_t ignore_eos; /* generate on past the model's end-of-generation tokens */
  uint64_t seed;
  /* Number of most likely alternatives to report for each token; 0 reports the chosen one alone;
   * REALM_NONE nothing. They are the model's, before penalties, bias, temperature and filters. */
  int64_t logprobs;
  const realm_text* stop; /* the text ends before the first of these that appears */
  size_t n_stop;
  const int32_t* stop_token_ids; /* any of these ends the answer and has no part in it */
  size_t n_stop_token_ids;
  const realm_logit_bias* logit_bias;
  size_t n_logit_bias;
} realm_sampling_params;

/* How tokens are guessed ahead. One forward of the model judges all guesses. */
typedef struct realm_speculative_config {
  size_t struct_size;
  int64_t draft_k;          /* guesses per forward: when adaptive, at first; else always */
  int64_t max_draft_tokens; /* upper limit of that, at most 16 */
  int32_t drafter;          /* REALM_DRAFTER_... */
  int32_t adaptive;         /* choose the number from measured acceptance and costs, 0 included */
  int32_t method;           /* REALM_METHOD_... */
  int32_t reserved;         /* 0 */
  realm_text draft_adapter; /* an adapter of the draft model; empty for none */
} realm_speculative_config;

/* An adapter of one request, and what it is multiplied with. */
typedef struct realm_scaled_adapter {
  realm_text id;
  double scale;
} realm_scaled_adapter;

/* What one request asks for besides its prompt. */
typedef struct realm_request_options {
  size_t struct_size;
  const realm_sampling_params* params;         /* NULL: the tenant's */
  const realm_speculative_config* speculative; /* NULL: as the model was loaded with */
  int32_t plain;                               /* no guesses, whatever the model has */
  int32_t priority;    /* among the tenant's own requests: higher goes first */
  int64_t deadline_ms; /* ends the answer as it stands, so long after submission; REALM_NONE */
  /* The adapters below in place of the one that is set for the tenant; none of them: the base. */
  int32_t chooses_adapters;
  int32_t reserved; /* 0 */
  const realm_scaled_adapter* adapters;
  size_t n_adapters;
} realm_request_options;

/* What one tenant may take of one model. REALM_NONE: no limit but the engine's own. */
typedef struct realm_quota {
  size_t struct_size;
  int64_t concurrent_requests; /* that run at once; more of them wait */
  int64_t queued_requests;     /* that may wait besides those; one more is refused */
  int64_t kv_blocks;           /* of running requests together, 16 tokens each; more wait */
  int64_t adapter_bytes;       /* of the adapters that a request computes with */
  int64_t tokens_per_minute;   /* of prompts and answers; more are refused */
  int64_t max_tokens;          /* that a request may ask for */
} realm_quota;

/* Terms of a tenant on a model. What is not set keeps what a living tenant has. */
typedef struct realm_tenant_options {
  size_t struct_size;
  const realm_quota* quota; /* NULL: not set; a new tenant has no limits */
  double weight; /* its fair share, in proportion to others', 0.001 to 1000; 0: not set */
  const realm_sampling_params* sampling; /* of requests that bring none; NULL: not set */
} realm_tenant_options;

/* How a model is loaded. */
typedef struct realm_model_options {
  size_t struct_size;
  realm_text
      draft_path;      /* a smaller model of the same vocabulary that guesses ahead; empty: none */
  realm_text draft_id; /* its own id, by which models can share it; empty: "{model_id}_draft" */
  /* How requests are speculated that do not say. NULL: with the defaults if there is a draft, else
   * not at all. */
  const realm_speculative_config* speculative;
} realm_model_options;

/* What holds for all models of a runtime. */
typedef struct realm_runtime_options {
  size_t struct_size;
  realm_text device;      /* "cpu", "cuda", "cuda:1"; empty: the best there is */
  int32_t n_threads;      /* of the CPU; 0: every processor this process may use */
  int32_t mapped_weights; /* use weights in their files; see docs/embedding.md for the risk */
  /* Of each model's engine. */
  int64_t max_sequences;   /* requests that run at once */
  int64_t max_step_tokens; /* rows of one step, which bounds how long a step takes */
  uint64_t kv_bytes;       /* for keys and values; 0: from the context and the free memory */
  uint64_t draft_kv_bytes; /* the same for a draft model */
  int32_t kv_type;         /* REALM_KV_... */
  int32_t prefix_cache;    /* reuse the keys and values of a tenant's prompts that begin alike */
  int64_t max_queue;       /* requests that may wait besides those that run; REALM_NONE */
  int64_t max_wait_ms;     /* an idle engine waits so long for requests to start together */
} realm_runtime_options;

/* How a session is made. */
typedef struct realm_session_options {
  size_t struct_size;
  int64_t max_tokens; /* its length at most; 0: the model's context */
  int64_t max_rows;   /* of one step */
  int32_t kv_type;    /* REALM_KV_... */
  int32_t reserved;   /* 0 */
} realm_session_options;

/* ---- reports -----------------------------------------------------------------------------------
 */

/* A model that is loaded. */
typedef struct realm_model_info {
  size_t struct_size;
  int64_t n_vocab;  /* ids are 0 to n_vocab - 1, and a row of logits is so long */
  int64_t n_embd;   /* floats of one row between layers */
  int64_t n_layers; /* realm_forward_layer() takes 0 to n_layers - 1 */
  int64_t n_ctx;    /* prompt and answer together, at most */
  int64_t n_heads, n_kv_heads, head_width;
  int32_t bos_token, eos_token; /* REALM_NONE where the file names none */
  int32_t is_draft;             /* it is there only to guess for others */
  int32_t has_draft;            /* another guesses for it */
  int64_t n_tenants;
  uint64_t weight_bytes;
} realm_model_info;

/* An adapter that is loaded. */
typedef struct realm_adapter_info {
  size_t struct_size;
  int32_t is_fitted; /* its model is loaded too, and the fields below are known */
  int32_t reserved;
  int64_t rank;
  double scale;                  /* alpha / rank, or alpha / sqrt(rank) with rsLoRA */
  uint64_t n_applied, n_refused; /* tensors */
  uint64_t bytes;
} realm_adapter_info;

/* A request, so far. Times are nanoseconds since its submission, 0 if not yet. */
typedef struct realm_request_report {
  size_t struct_size;
  int32_t state;      /* REALM_REQUEST_... */
  int32_t finish;     /* REALM_FINISH_... */
  int32_t status;     /* with REALM_FINISH_ERROR a code of error_code.h, else REALM_OK */
  int32_t stop_token; /* the token that ended the answer; REALM_NONE */
  int64_t stop_index; /* of the stop string that did; REALM_NONE */
  uint64_t seed;      /* gives the same answer again */
  int64_t logprobs;   /* alternatives that are reported for each token; REALM_NONE */
  int64_t n_prompt, n_generated;
  int64_t n_cached;    /* tokens of the prompt that the cache had */
  int64_t n_preempted; /* times it gave way to others */
  int64_t started_ns, first_token_ns, finished_ns;
  int64_t drafted, accepted, verifications; /* guesses, those that stood, forwards that judged */
} realm_request_report;

/* The log-probability of a token. */
typedef struct realm_token_logprob {
  int32_t token; /* REALM_NONE where fewer alternatives exist than were asked for */
  float logprob; /* natural; minus infinity for a masked token */
} realm_token_logprob;

/* One tenant on one model, so far. */
typedef struct realm_tenant_usage {
  size_t struct_size;
  uint64_t total_requests;   /* accepted */
  uint64_t refused_requests; /* for a limit */
  int64_t active_requests;   /* that have not ended */
  int64_t running;           /* of them, those that run */
  uint64_t preempted, cancelled, failed;
  int64_t kv_blocks_used;
  uint64_t prefix_hits, prefix_tokens; /* requests that found some of their prompt; tokens found */
  uint64_t prompt_tokens, tokens_generated;
  int64_t tokens_last_minute; /* as tokens_per_minute counts them */
  uint64_t draft_tokens, accepted_tokens;
} realm_tenant_usage;

/* One model's engine, over all tenants, so far. */
typedef struct realm_model_usage {
  size_t struct_size;
  uint64_t total_requests;
  int64_t waiting, running;
  uint64_t preempted, cancelled, failed;
  int64_t kv_blocks_used, kv_blocks_total, kv_blocks_cached;
  uint64_t prefix_hits, prefix_tokens;
  uint64_t prompt_tokens, tokens_generated;
  uint64_t draft_tokens, accepted_tokens;
  uint64_t steps;
  double step_seconds, draft_seconds;
  double first_token_seconds_p50, first_token_seconds_p99; /* from submission */
  double next_token_seconds_p50, next_token_seconds_p99;   /* between tokens */
} realm_model_usage;

#endif
