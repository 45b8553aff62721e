// A language model over penlight.h: its constants, its vocabulary, its cache, one forward call.
#pragma once

#include <atomic>

#include "buffer.h"
#include "error.h"
#include "logits.h"
#include "penlight/penlight_llm.h"
#include "sampler.h"
#include "speculate.h"
#include "text.h"

struct penlight_llm {
    penlight_program* program = nullptr;
    bool owns_program = false;
    penlight_method* forward = nullptr;
    penlight_method* verify = nullptr;  // on the state of forward; null: the program has none

    uint32_t vocabulary_size = 0;
    uint32_t program_context = 0;  // positions the cache has room for
    uint32_t max_context = 0;      // after the caller's cap
    uint32_t chunk = 1;            // most tokens of one forward call
    uint32_t static_chunk = 0;     // > 0: every call takes exactly so many
    uint32_t verify_length = 0;    // most tokens of one call of verify
    int32_t bos_id = -1;
    penlight::llm::Buffer<int32_t> eos_ids;
    double load_seconds = 0;

    // "penlight.vocabulary": uint32 count, uint32 offsets[count + 1], bytes.
    const char* vocabulary_bytes = nullptr;
    const char* vocabulary_offsets = nullptr;  // unaligned little-endian uint32
    uint32_t vocabulary_count = 0;

    penlight::llm::Buffer<int32_t> cached;  // the tokens the cache holds
    penlight::llm::Buffer<int64_t> input;   // [chunk or verify_length], what the methods read
    penlight::llm::Buffer<float> wide;      // [vocabulary], logits of a program that gives halves
    const float* logits = nullptr;          // [vocabulary], of the last step
    penlight::llm::Sampler sampler;
    penlight::llm::Speculation speculation;
    penlight::llm::TextStream text;
    std::atomic<bool> cancelled{false};

    penlight_llm() = default;
    ~penlight_llm();
};

namespace penlight::llm {

// Seconds on a clock that never goes back.
double now();
inline penlight_status code(Status status) { return static_cast<penlight_status>(status); }
inline uint32_t read_u32(const char* bytes) {
    uint32_t value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
}

// Read the constant methods, the vocabulary and the shapes of forward, and load the methods.
Status open_model(penlight_llm& llm, const penlight_llm_options& options, penlight_error* error);
// Run tokens after what the cache holds, at most `chunk` of them; the logits of the last one are
// in llm.logits, and the tokens in the cache, if and only if this returns ok.
Status step(penlight_llm& llm, const int32_t* tokens, size_t count, penlight_error* error);
// Run at most verify_length tokens after what the cache holds; *rows are the logits of all of them
// [count][vocabulary], until the next step. How many of them the cache is said to hold is up to the
// caller, who pushes them to llm.cached.
Status check(penlight_llm& llm, const int32_t* tokens, size_t count, const float** rows,
             penlight_error* error);
// The same as step for any number of tokens.
Status advance(penlight_llm& llm, const int32_t* tokens, size_t count, penlight_error* error);
Status check_tokens(const penlight_llm& llm, const int32_t* tokens, size_t count,
                    penlight_error* error);
// The bytes of a token; none when there is no vocabulary.
void token_bytes(const penlight_llm& llm, int32_t token, const char** bytes, size_t* size);

}  // namespace penlight::llm
