// Guessing the next tokens from what the text said before, and when that pays.
//
//   Speculation s;
//   s.start(prompt, count, PENLIGHT_LLM_SPECULATION_AUTO)
//   n = s.draft(draft, 15);              // guesses after the last token; 0: better none
//   s.measured(1 + n, seconds);          // of the step that checked them
//   s.push(token);                       // each token that was really drawn, in order
//
// A draft is what followed the longest earlier occurrence of the last tokens ("prompt lookup
// decoding", Saxena 2023). Where the answer has just left what it followed, as a corrected word
// does, one token that also comes soon after that place is enough to go on. Whether it is worth its
// step is reckoned from what is known so far: how often guesses like it came true, whether they
// were checked or not, and what a step of several tokens costs. All of that changes how fast an
// answer comes, never what it says.
#pragma once

#include <cstddef>
#include <cstdint>

#include "buffer.h"
#include "penlight/penlight_llm.h"

namespace penlight::llm {

class Speculation {
  public:
    // Begin with these tokens; mode: penlight_llm_speculation. False when there is no memory.
    [[nodiscard]] bool start(const int32_t* tokens, size_t count, uint32_t mode);
    // One more token. False when there is no memory.
    [[nodiscard]] bool push(int32_t token);
    // Up to `most` tokens that may come next, [most]; returns how many.
    size_t draft(int32_t* tokens, size_t most);
    // What a step of so many tokens took.
    void measured(size_t tokens, double seconds);

    // All tokens so far.
    const int32_t* tokens() const { return tokens_.data(); }
    size_t size() const { return tokens_.size(); }

  private:
    static constexpr size_t kinds = 7;  // of guesses, by how many tokens matched
    static size_t kind(size_t matched);
    uint32_t& newest(size_t index);
    void find();
    void find_near();
    float cost(size_t tokens) const;
    size_t worthwhile(size_t most) const;

    uint32_t mode_ = PENLIGHT_LLM_SPECULATION_OFF;
    Buffer<int32_t> tokens_;
    Buffer<uint32_t> earlier_;  // [tokens]: 1 + where the pair that ends here ended before, or 0
    Buffer<uint32_t> newest_;   // by hash of a pair: 1 + where it ended last, or 0
    size_t next_ = 0;           // where the guess lies; 0: there is none
    size_t matched_ = 0;        // tokens before it that are also the last ones
    size_t left_ = 0;           // the last guess that was wrong after several that matched, or 0
    size_t since_ = 0;          // tokens since then, the one that came in its place included
    float right_[kinds] = {};   // how often guesses came true
    float known_[kinds] = {};   // how many guesses that is drawn from
    double single_ = 0;         // seconds of a step of one token; 0: not known yet
    float extra_ = 0.25f;       // what each further token costs, in such steps
    // What a step of so many tokens costs, in such steps; 0: not known. Kernels take tokens a few
    // at a time, so that it rises in stairs.
    float costs_[17] = {};
};

}  // namespace penlight::llm
