/* Penlight: chat with a language model that lives in a .pte file.
 *
 *   penlight_llm* llm;  penlight_error e;
 *   if (penlight_llm_open(runtime, "model.pte", NULL, &llm, &e)) die(e.message);
 *   penlight_llm_sampling s = penlight_llm_default_sampling(llm);
 *   penlight_llm_request r = {.tokens = ids, .token_count = n, .sampling = s,
 *                             .max_new_tokens = 256, .on_token = print_it};
 *   penlight_llm_result result;
 *   if (penlight_llm_generate(llm, &r, &result, &e)) die(e.message);
 *   penlight_llm_close(llm);
 *
 * The layer knows programs only through penlight.h. It expects a method
 *   forward(tokens int64 [1,T], input_pos int64 [1]) -> logits float32 [1,V] of the last token
 * whose cache is mutable state, perhaps
 *   verify(tokens int64 [1,T], input_pos int64 [1]) -> logits float32 [1,T,V] of every token
 * on the same state, and the constant methods that exporters for language models write
 * (get_max_seq_len, get_max_context_len, get_vocab_size, get_bos_id, get_eos_ids, use_kv_cache).
 * Text comes from the named data "penlight.vocabulary" (see format.md); without it, tokens only.
 *
 * Ownership. The runtime outlives the handle. Everything in a request is borrowed
 * for the duration of the call. A program given to penlight_llm_from_program stays the caller's to
 * close, after the handle. Threads: one call at a time per handle, except penlight_llm_cancel,
 * which may come from any thread, a signal handler included.
 *
 * The cache. The handle remembers which tokens the cache holds; a request whose tokens begin with
 * the same ones computes only the rest. Same seed, same tokens: whatever the thread count.
 *
 * Speculation. With verify, tokens that the text suggests (what followed the last ones when they
 * occurred before) are checked together, for little more than the time of one. Every token is
 * still drawn from its own logits, in order: the answer is the same with and without.
 */
#ifndef PENLIGHT_PENLIGHT_LLM_H
#define PENLIGHT_PENLIGHT_LLM_H

#include "penlight/penlight.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct penlight_llm penlight_llm;

typedef struct penlight_llm_options {
    uint32_t max_context;   /* 0: the model's own; a smaller number caps it */
    uint32_t prefill_chunk; /* tokens per prefill call; 0: what the program allows, at most 512 */
} penlight_llm_options;

typedef struct penlight_llm_info {
    uint32_t vocabulary_size;
    uint32_t max_context;   /* tokens, after the cap */
    uint32_t prefill_chunk; /* tokens per prefill call */
    int32_t bos_id;         /* -1: none */
    const int32_t* eos_ids; /* valid as long as the handle */
    size_t eos_count;
    uint32_t context_used; /* tokens the cache holds now */
    double load_seconds;
    uint32_t draft_length; /* most tokens drafted at once; 0: the program has no verify */
} penlight_llm_info;

/* The order in which they apply: penalties, temperature, top_k, typical_p, top_p, min_p. */
typedef struct penlight_llm_sampling {
    float temperature;        /* 0: greedy, the most likely token (the lowest id among equals) */
    uint32_t top_k;           /* 0: off */
    float top_p;              /* 1: off (Holtzman et al. 2020, nucleus sampling) */
    float min_p;              /* 0: off; keeps tokens at least min_p times as likely as the best */
    float typical_p;          /* 1: off (Meister et al. 2023, locally typical sampling) */
    float repetition_penalty; /* 1: off (Keskar et al. 2019) */
    float frequency_penalty;  /* 0: off; subtracted once for each earlier occurrence */
    float presence_penalty;   /* 0: off; subtracted once if the token occurred */
    uint32_t penalty_window;  /* how many last tokens the penalties look at; 0: all */
    uint64_t seed;
} penlight_llm_sampling;

typedef enum penlight_llm_speculation {
    PENLIGHT_LLM_SPECULATION_AUTO = 0, /* where it is likely to be faster */
    PENLIGHT_LLM_SPECULATION_OFF = 1,
    PENLIGHT_LLM_SPECULATION_ALWAYS = 2 /* wherever there is something to try */
} penlight_llm_speculation;

typedef enum penlight_llm_stop {
    PENLIGHT_LLM_STOP_NONE = 0,
    PENLIGHT_LLM_STOP_EOS = 1,     /* a stop id */
    PENLIGHT_LLM_STOP_STRING = 2,  /* a stop string; it is not part of the text */
    PENLIGHT_LLM_STOP_LENGTH = 3,  /* max_new_tokens */
    PENLIGHT_LLM_STOP_CONTEXT = 4, /* the context is full */
    PENLIGHT_LLM_STOP_CANCELLED = 5,
    PENLIGHT_LLM_STOP_CALLBACK = 6 /* on_token returned false */
} penlight_llm_stop;

/* One generated token, a stop id included. `text` is what can be shown so far: whole UTF-8
 * characters only, held back while it might be the beginning of a stop string; it may be empty.
 * Return false to stop. */
typedef bool (*penlight_llm_on_token)(void* user, int32_t token, float log_probability,
                                      const char* text, size_t text_size);
/* Prompt tokens done so far, after each chunk. Return false to stop. */
typedef bool (*penlight_llm_on_prefill)(void* user, size_t done, size_t total);

typedef struct penlight_llm_request {
    const int32_t* tokens; /* the whole prompt, from the beginning of the conversation */
    size_t token_count;
    penlight_llm_sampling sampling;
    uint32_t max_new_tokens; /* 0: until a stop or the context is full */
    const int32_t* stop_ids; /* besides the model's own */
    size_t stop_id_count;
    bool ignore_eos; /* do not stop at the model's own stop ids */
    const char* const* stop_strings;
    size_t stop_string_count;
    bool log_probabilities;             /* give them to on_token; NaN otherwise */
    penlight_llm_on_token on_token;     /* may be NULL */
    penlight_llm_on_prefill on_prefill; /* may be NULL */
    void* user;
    uint32_t speculation; /* penlight_llm_speculation */
} penlight_llm_request;

typedef struct penlight_llm_result {
    penlight_llm_stop stop;
    size_t prompt_tokens;
    size_t reused_tokens; /* of the prompt, found in the cache */
    size_t generated_tokens;
    double prefill_seconds;
    double first_token_seconds; /* from the call to the first token */
    double decode_seconds;      /* from the first token to the last */
    size_t context_used;
    size_t drafted_tokens;  /* that were checked */
    size_t accepted_tokens; /* of those, in the answer */
} penlight_llm_result;

PENLIGHT_API penlight_status penlight_llm_open(penlight_runtime* runtime, const char* path,
                                               const penlight_llm_options* options,
                                               penlight_llm** llm, penlight_error* error);
/* The same over a program that is open already, and stays open as long as the handle. */
PENLIGHT_API penlight_status penlight_llm_from_program(penlight_program* program,
                                                       const penlight_llm_options* options,
                                                       penlight_llm** llm, penlight_error* error);
PENLIGHT_API void penlight_llm_close(penlight_llm* llm);
PENLIGHT_API void penlight_llm_get_info(const penlight_llm* llm, penlight_llm_info* info);
PENLIGHT_API penlight_llm_sampling penlight_llm_default_sampling(const penlight_llm* llm);
/* The methods that the handle runs, to profile them: "forward", then "verify" if there is one; NULL
 * past the last. They stay the handle's. */
PENLIGHT_API penlight_method* penlight_llm_method(penlight_llm* llm, size_t index);

PENLIGHT_API penlight_status penlight_llm_generate(penlight_llm* llm,
                                                   const penlight_llm_request* request,
                                                   penlight_llm_result* result,
                                                   penlight_error* error);
/* Stop the call that is running, after the token in hand. */
PENLIGHT_API void penlight_llm_cancel(penlight_llm* llm);

/* Log probabilities (natural logarithm) of tokens[1..count) given those before: [count - 1].
 * `top` may be NULL; else [count - 1] receives the most likely token at each place. */
PENLIGHT_API penlight_status penlight_llm_score(penlight_llm* llm, const int32_t* tokens,
                                                size_t count, float* log_probabilities,
                                                int32_t* top, penlight_error* error);
/* Run tokens after what the cache holds and give the logits of the last one, float32
 * [vocabulary_size], valid until the next call. */
PENLIGHT_API penlight_status penlight_llm_forward(penlight_llm* llm, const int32_t* tokens,
                                                  size_t count, const float** logits,
                                                  penlight_error* error);
/* The tokens the cache holds; and keep only the first `count` of them. */
PENLIGHT_API const int32_t* penlight_llm_tokens(const penlight_llm* llm, size_t* count);
PENLIGHT_API void penlight_llm_truncate(penlight_llm* llm, size_t count);

/* The bytes of one token, not always whole characters. PENLIGHT_NOT_FOUND without a vocabulary. */
PENLIGHT_API penlight_status penlight_llm_token_bytes(const penlight_llm* llm, int32_t token,
                                                      const char** bytes, size_t* size,
                                                      penlight_error* error);

/* Write the cache and its tokens to a file (by a temporary name), or take them from one. A session
 * belongs to the program it was made with: any other is refused, and nothing is changed. */
PENLIGHT_API penlight_status penlight_llm_save_session(const penlight_llm* llm, const char* path,
                                                       penlight_error* error);
PENLIGHT_API penlight_status penlight_llm_load_session(penlight_llm* llm, const char* path,
                                                       penlight_error* error);

#ifdef __cplusplus
}
#endif
#endif /* PENLIGHT_PENLIGHT_LLM_H */
