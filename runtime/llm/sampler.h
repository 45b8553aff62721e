// Choosing the next token from logits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "buffer.h"
#include "penlight/penlight_llm.h"

namespace penlight::llm {

class Sampler {
  public:
    // False when there is no memory for a vocabulary of this size.
    [[nodiscard]] bool prepare(size_t vocabulary_size);
    void start(const penlight_llm_sampling& sampling) { sampling_ = sampling, draws_ = 0; }

    // The next token after `history` [count]. Every id of the history is in the vocabulary.
    // -1 if no logit is a number.
    int32_t sample(const float* logits, const int32_t* history, size_t count);

  private:
    struct Candidate {
        float logit;  // turned into a probability once the candidates are few
        int32_t token;
    };
    static bool likelier(const Candidate& a, const Candidate& b);
    bool penalised() const;
    void penalise(const int32_t* history, size_t count);
    size_t collect(const float* logits);
    size_t keep_top_k(size_t n);
    void soften(size_t n);
    size_t keep_typical(size_t n);
    size_t keep_top_p(size_t n);
    size_t keep_min_p(size_t n);
    int32_t draw(size_t n);
    double uniform();

    penlight_llm_sampling sampling_{};
    uint64_t draws_ = 0;
    size_t vocabulary_ = 0;
    Buffer<Candidate> candidates_;
    Buffer<float> adjusted_;   // [vocabulary], logits after penalties
    Buffer<uint32_t> counts_;  // [vocabulary], all zero between calls
};

// The most likely token: the lowest id among equals, NaN never; -1 if all are NaN.
int32_t argmax(const float* logits, size_t count);
// log(softmax(logits))[token]
float log_probability(const float* logits, size_t count, int32_t token);
// What is wrong with the settings, or null.
const char* fault(const penlight_llm_sampling& sampling);

}  // namespace penlight::llm
