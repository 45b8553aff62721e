// Passes over the logits of a whole vocabulary.
//
// They are written in vectors that every processor of an architecture has, not in those of
// simd/vec.h: so a seed means the same text whichever instruction set runs the model.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penlight::llm {

// The highest; -infinity if none is above it. NaN is passed over.
float highest(const float* logits, size_t count);
// The most likely token: the lowest id among equals, NaN never; -1 if all are NaN.
int32_t argmax(const float* logits, size_t count);
// weights[i] = e^((logits[i] - top) * scale), to 3 units in the last place; returns their sum.
// `top` is not below any of the logits. What would weigh less than e^-87, and NaN, weighs nothing.
float weigh(const float* logits, size_t count, float top, float scale, float* weights);
// log(softmax(logits))[token]
float log_probability(const float* logits, size_t count, int32_t token);

}  // namespace penlight::llm
