// Attention over a key and value cache: what its two ways of working share.
#pragma once

#include "dtype.h"

namespace penlight::kernels {

// Keys are taken in chunks of this many, each with a softmax of its own that is merged with the
// others in order; chunk boundaries are fixed, so results depend neither on the thread count nor on
// how many tokens come at once.
inline constexpr int64_t attention_chunk = 128;
// Up to this many tokens the cache is read in one pass for all heads (decoding: memory is the
// limit); above, one head at a time as matrix products (prefill: arithmetic is).
inline constexpr int64_t attention_decode_tokens = 16;
// Query rows (token, head) of one prefill task.
inline constexpr int64_t attention_rows = 192;
// The most of them that are worked on at once.
inline constexpr int64_t attention_tile_rows = 12;

// Floats of one row's record of one chunk, whole cache lines.
inline int64_t attention_record(int64_t dim) { return (dim + 2 + 15) / 16 * 16; }

struct Attention {
    const float* q;  // [tokens][heads][dim]
    const void* keys;
    const void* values;  // [groups][capacity][width], rows as cache_row
    int32_t cache;       // their penlight_dtype
    float* out;          // [tokens][heads][dim]
    int64_t tokens, heads, groups, dim, width, capacity, start;
    float scale, softcap;
    int64_t window;
    bool prefetch_near;  // as the context has it
    // Decoding: [chunk][token][head] records: dim weighted values, at the end maximum (over ln 2)
    // and sum.
    float* partial;
    int64_t first_chunk, chunks;

    int64_t shared() const { return heads / groups; }  // query heads per cache head
    int64_t record() const { return attention_record(dim); }
    // Where a position of a cache head begins, in elements.
    int64_t row(int64_t group, int64_t position) const {
        return (group * capacity + position) * width;
    }
    int64_t end() const { return start + tokens; }
    int64_t first_key(int64_t token) const {
        int64_t first = window > 0 ? start + token - window + 1 : 0;
        return first > 0 ? first : 0;
    }
};

inline int64_t attention_padded(int64_t dim) { return (dim + 31) / 32 * 32; }
// Floats that one prefill task needs.
inline int64_t attention_prefill_floats(int64_t dim) {
    return attention_padded(dim) * (2 * attention_chunk + 2 * attention_rows) +
           attention_chunk * attention_tile_rows + 2 * attention_rows;
}

}  // namespace penlight::kernels
