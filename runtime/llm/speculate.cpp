#include "speculate.h"

#include <algorithm>
#include <iterator>

namespace penlight::llm {

namespace {

constexpr size_t table_bits = 14;
constexpr size_t longest_match = 32;  // tokens that are compared at most
constexpr size_t most_places = 16;    // earlier occurrences that are looked at
constexpr size_t followed = 3;        // tokens that matched: the answer follows that place
constexpr size_t near = 8;            // tokens within which it may go on behind that place
// Before anything is known: how often guesses come true, how many guesses that is worth, and what
// a further token costs.
constexpr float usual[] = {0.5f, 0.3f, 0.45f, 0.6f, 0.7f, 0.8f, 0.9f};
constexpr float usual_known = 4;
constexpr float usual_extra = 0.25f;
constexpr float memory = 24;         // guesses; older ones fade
constexpr float least_gain = 1.06f;  // covers what is misjudged

}  // namespace

bool Speculation::start(const int32_t* tokens, size_t count, uint32_t mode) {
    mode_ = mode;
    tokens_.shrink(0);
    earlier_.shrink(0);
    newest_.shrink(0);
    next_ = left_ = 0;
    if (mode == PENLIGHT_LLM_SPECULATION_OFF) return tokens_.append(tokens, count);
    std::copy(usual, usual + kinds, right_);
    std::fill(known_, known_ + kinds, usual_known);
    // What was measured once need not hold for ever.
    extra_ += (usual_extra - extra_) / 4;
    for (float& cost : costs_) cost = 0;
    bool fits = newest_.resize(size_t{1} << table_bits);  // zeros
    for (size_t i = 0; i < count && fits; i++) fits = push(tokens[i]);
    return fits;
}

bool Speculation::push(int32_t token) {
    if (mode_ == PENLIGHT_LLM_SPECULATION_OFF) return tokens_.push(token);
    if (next_) {
        size_t k = kind(matched_);
        known_[k] = std::min(known_[k] + 1, memory);
        right_[k] += ((tokens_[next_] == token ? 1.0f : 0.0f) - right_[k]) / known_[k];
    }
    size_t end = tokens_.size();
    if (!tokens_.push(token) || !earlier_.push(0)) return false;
    // A guess that came true is followed by the next one, with one more token that matches.
    bool follows = next_ && tokens_[next_] == token;
    if (next_ && !follows && matched_ >= followed) {
        left_ = next_;
        since_ = 0;
    }
    since_++;
    if (end > 0) {
        uint32_t& place = newest(end);
        earlier_[end] = place;
        place = static_cast<uint32_t>(end) + 1;
    }
    if (follows) {
        next_++;
        matched_ = std::min(matched_ + 1, longest_match);
    } else {
        next_ = 0;
    }
    return true;
}

size_t Speculation::draft(int32_t* tokens, size_t most) {
    if (mode_ == PENLIGHT_LLM_SPECULATION_OFF) return 0;
    find();
    if (!next_) return 0;
    size_t count = mode_ == PENLIGHT_LLM_SPECULATION_ALWAYS ? most : worthwhile(most);
    for (size_t i = 0; i < count; i++) {
        // What repeats itself runs on into the draft.
        size_t from = next_ + i;
        tokens[i] = from < tokens_.size() ? tokens_[from] : tokens[from - tokens_.size()];
    }
    return count;
}

void Speculation::measured(size_t tokens, double seconds) {
    if (tokens == 1) {
        // One step that something else delayed must not count for much.
        double likely = single_ > 0 ? std::min(seconds, 2 * single_) : seconds;
        single_ = single_ > 0 ? single_ + (likely - single_) / 8 : likely;
    } else if (single_ > 0) {
        double extra = (seconds / single_ - 1) / static_cast<double>(tokens - 1);
        extra = std::clamp(extra, 0.02, 2.0 * extra_ + 0.1);
        extra_ += (static_cast<float>(extra) - extra_) / 8;
        if (tokens < std::size(costs_)) {
            const float known = cost(tokens);
            const float now = std::min(static_cast<float>(seconds / single_), 2 * known);
            costs_[tokens] = costs_[tokens] > 0 ? known + (now - known) / 4 : now;
        }
    }
}

// Of the nearest number of tokens below that is known, and what each further one costs; but no more
// than that of a greater number.
float Speculation::cost(size_t tokens) const {
    size_t below = std::min(tokens, std::size(costs_) - 1), above = tokens;
    while (below > 1 && costs_[below] <= 0) below--;
    float guess = (below > 1 ? costs_[below] : 1) + extra_ * static_cast<float>(tokens - below);
    while (above < std::size(costs_) && costs_[above] <= 0) above++;
    return above < std::size(costs_) ? std::min(guess, costs_[above]) : guess;
}

size_t Speculation::kind(size_t matched) {
    constexpr size_t least[] = {2, 3, 4, 6, 9, 16};
    size_t n = 0;
    while (n < kinds - 1 && matched >= least[n]) n++;
    return n;
}

// Where the pair of tokens that ends at `index` ended last.
uint32_t& Speculation::newest(size_t index) {
    uint32_t hash = static_cast<uint32_t>(tokens_[index - 1]) * 0x9e3779b1u;
    hash = (hash ^ static_cast<uint32_t>(tokens_[index])) * 0x85ebca6bu;
    return newest_[(hash ^ hash >> 15) & ((1u << table_bits) - 1)];
}

// The longest of the newest earlier occurrences of the last tokens, two at least; else one near
// where the answer left what it followed.
void Speculation::find() {
    size_t end = tokens_.size() - 1, best = 1;
    if (next_ && matched_ >= longest_match) return;  // it goes on as before
    next_ = 0;
    uint32_t place = tokens_.size() ? earlier_[end] : 0;
    for (size_t looked = 0; place && looked < most_places; looked++) {
        size_t at = place - 1, n = 0;
        while (n <= at && n < longest_match && tokens_[at - n] == tokens_[end - n]) n++;
        if (n > best) {
            best = n;
            next_ = at + 1;
            matched_ = n;
        }
        if (best == longest_match) return;
        place = earlier_[at];
    }
    if (!next_ && left_ && since_ <= near) find_near();
}

// The last token, as near as possible to where it would be if as many tokens had been replaced.
void Speculation::find_near() {
    const size_t end = tokens_.size() - 1, expected = left_ + since_ - 1;
    for (size_t distance = 0; distance <= near && !next_; distance++)
        for (size_t at : {expected - distance, expected + distance}) {
            if (at == 0 || at >= end || tokens_[at] != tokens_[end]) continue;
            next_ = at + 1;
            matched_ = 1;
            break;
        }
}

// How many guesses give the most tokens for the time of their step, as far as is known.
size_t Speculation::worthwhile(size_t most) const {
    if (single_ == 0) return 0;  // first learn what a plain step costs
    size_t best = 0;
    float gain = least_gain, all_right = 1, expected = 1;
    for (size_t n = 1; n <= most; n++) {
        all_right *= right_[kind(std::min(matched_ + n - 1, longest_match))];
        expected += all_right;
        float speed = expected / cost(n + 1);
        if (speed > gain) best = n, gain = speed;
    }
    return best;
}

}  // namespace penlight::llm
