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
        float weight;  // what the tokens are ordered by: logit, weight or distance
        int32_t token;
    };
    static bool likelier(const Candidate& a, const Candidate& b);
    bool penalised() const;
    void penalise(const int32_t* history, size_t count);
    bool weigh_all(const float* logits);
    size_t collect(const float* values, float least);
    size_t collect_likeliest(const float* logits, size_t k);
    size_t take_top_k(const float* logits);
    size_t take_weighty();
    template <class Before> size_t keep_until(size_t n, double sum, Before before);
    size_t keep_typical(size_t n);
    size_t keep_top_p(size_t n);
    size_t keep_min_p(size_t n);
    int32_t draw(size_t n);
    int32_t draw_from_all();
    double uniform();

    static constexpr size_t run = 64;      // logits with one maximum
    static constexpr size_t block = 1024;  // weights with one sum

    penlight_llm_sampling sampling_{};
    uint64_t draws_ = 0;
    size_t vocabulary_ = 0;
    double total_ = 0;  // of the weights of all tokens that the kept ones were taken from
    Buffer<Candidate> candidates_;
    Buffer<float> adjusted_;   // [vocabulary], logits after penalties
    Buffer<float> weights_;    // [vocabulary], e^((logit - highest) / temperature)
    Buffer<double> sums_;      // of the weights of each block
    Buffer<float> maxima_;     // twice: of the logits of each run, and to be sorted
    Buffer<uint32_t> counts_;  // [vocabulary], all zero between calls
};

// What is wrong with the settings, or null.
const char* fault(const penlight_llm_sampling& sampling);

}  // namespace penlight::llm
