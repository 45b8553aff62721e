#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "logits.h"

namespace penlight::llm {

const char* fault(const penlight_llm_sampling& s) {
    // Written so that NaN is a fault too.
    if (!(s.temperature >= 0 && s.temperature <= 100)) return "a temperature from 0 to 100";
    if (!(s.top_p > 0 && s.top_p <= 1)) return "top_p above 0 and at most 1";
    if (!(s.min_p >= 0 && s.min_p <= 1)) return "min_p from 0 to 1";
    if (!(s.typical_p > 0 && s.typical_p <= 1)) return "typical_p above 0 and at most 1";
    if (!(s.repetition_penalty > 0 && s.repetition_penalty <= 100)) {
        return "a repetition_penalty above 0 and at most 100";
    }
    if (!(std::fabs(s.frequency_penalty) <= 100)) return "a frequency_penalty from -100 to 100";
    if (!(std::fabs(s.presence_penalty) <= 100)) return "a presence_penalty from -100 to 100";
    return nullptr;
}

bool Sampler::prepare(size_t vocabulary_size) {
    vocabulary_ = vocabulary_size;
    const size_t runs = (vocabulary_size + run - 1) / run;
    return candidates_.resize(vocabulary_size) && adjusted_.resize(vocabulary_size) &&
           weights_.resize(vocabulary_size) && sums_.resize(vocabulary_size / block + 1) &&
           maxima_.resize(2 * runs) && counts_.resize(vocabulary_size);
}

// A strict order over (weight, id), so that the outcome never depends on the sorting algorithm.
bool Sampler::likelier(const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
}

int32_t Sampler::sample(const float* logits, const int32_t* history, size_t count) {
    if (penalised()) {
        std::copy(logits, logits + vocabulary_, adjusted_.data());
        penalise(history, count);
        logits = adjusted_.data();
    }
    if (sampling_.temperature == 0) return argmax(logits, vocabulary_);
    const bool few = sampling_.top_k > 0 && sampling_.top_k < vocabulary_;
    size_t n = 0;
    if (few) {
        n = take_top_k(logits);
    } else if (weigh_all(logits)) {
        if (sampling_.typical_p >= 1 && sampling_.top_p >= 1 && sampling_.min_p <= 0) {
            return draw_from_all();
        }
        n = take_weighty();
    }
    if (n == 0) return -1;
    n = keep_typical(n);
    n = keep_top_p(n);
    n = keep_min_p(n);
    return draw(n);
}

bool Sampler::penalised() const {
    return sampling_.repetition_penalty != 1 || sampling_.frequency_penalty != 0 ||
           sampling_.presence_penalty != 0;
}

void Sampler::penalise(const int32_t* history, size_t count) {
    size_t window = sampling_.penalty_window ? sampling_.penalty_window : count;
    const int32_t* begin = history + (count > window ? count - window : 0);
    const int32_t* end = history + count;
    for (const int32_t* t = begin; t < end; t++) counts_[static_cast<size_t>(*t)]++;
    for (const int32_t* t = begin; t < end; t++) {
        auto token = static_cast<size_t>(*t);
        if (counts_[token] == 0) continue;  // done already
        float& logit = adjusted_[token];
        logit =
            logit > 0 ? logit / sampling_.repetition_penalty : logit * sampling_.repetition_penalty;
        logit -= sampling_.presence_penalty +
                 sampling_.frequency_penalty * static_cast<float>(counts_[token]);
        counts_[token] = 0;
    }
}

// All weights and their sums; false if no logit is a number above -infinity.
bool Sampler::weigh_all(const float* logits) {
    const float top = highest(logits, vocabulary_), scale = 1 / sampling_.temperature;
    if (top == -std::numeric_limits<float>::infinity()) return false;
    total_ = 0;
    for (size_t i = 0; i < vocabulary_; i += block) {
        const size_t n = std::min(block, vocabulary_ - i);
        sums_[i / block] = weigh(logits + i, n, top, scale, weights_.data() + i);
        total_ += sums_[i / block];
    }
    return true;
}

// The tokens whose value is not below the least, and above -infinity; -> how many.
size_t Sampler::collect(const float* values, float least) {
    least = std::max(least, std::numeric_limits<float>::lowest());
    Candidate* c = candidates_.data();
    size_t n = 0;
    for (size_t i = 0; i < vocabulary_; i++) {  // false for NaN
        if (values[i] >= least) c[n++] = {values[i], static_cast<int32_t>(i)};
    }
    return n;
}

// At least the k likeliest tokens: k runs reach the k-th highest of the maxima, so that as many
// tokens do.
size_t Sampler::collect_likeliest(const float* logits, size_t k) {
    const size_t runs = (vocabulary_ + run - 1) / run;
    if (k >= runs) return collect(logits, std::numeric_limits<float>::lowest());
    float *maxima = maxima_.data(), *sorted = maxima + runs;
    for (size_t r = 0; r < runs; r++) {
        maxima[r] = highest(logits + r * run, std::min(run, vocabulary_ - r * run));
    }
    std::copy(maxima, maxima + runs, sorted);
    std::nth_element(sorted, sorted + k - 1, sorted + runs, std::greater<float>());
    const float least = std::max(sorted[k - 1], std::numeric_limits<float>::lowest());
    Candidate* c = candidates_.data();
    size_t n = 0;
    for (size_t r = 0; r < runs; r++) {
        if (maxima[r] < least) continue;
        for (size_t i = r * run; i < std::min((r + 1) * run, vocabulary_); i++) {
            if (logits[i] >= least) c[n++] = {logits[i], static_cast<int32_t>(i)};
        }
    }
    return n;
}

size_t Sampler::take_top_k(const float* logits) {
    const size_t k = sampling_.top_k;
    Candidate* c = candidates_.data();
    size_t n = collect_likeliest(logits, k);
    if (n == 0) return 0;
    if (k < n) std::nth_element(c, c + k, c + n, likelier);
    n = std::min(k, n);
    std::sort(c, c + n, likelier);  // one order on every platform, so that a seed means the same
    const float top = c[0].weight, scale = 1 / sampling_.temperature;
    total_ = 0;
    for (size_t i = 0; i < n; i++) {
        total_ += weigh(&c[i].weight, 1, top, scale, &c[i].weight);
        weights_[static_cast<size_t>(c[i].token)] = c[i].weight;
    }
    return n;
}

// The tokens that may be among the likeliest of sum top_p, and are likely enough for min_p. Tokens
// of less than the mean of what top_p leaves out cannot add up to it.
size_t Sampler::take_weighty() {
    float least = std::numeric_limits<float>::min();
    if (sampling_.typical_p >= 1) {
        const double rest = (1 - sampling_.top_p) * total_ / static_cast<double>(vocabulary_);
        least = std::max({least, sampling_.min_p, static_cast<float>(rest)});
    }
    return collect(weights_.data(), least);
}

// The first candidates in an order until their weights reach a sum, taken from a heap: few are
// needed of many.
template <class Before> size_t Sampler::keep_until(size_t n, double sum, Before before) {
    Candidate* c = candidates_.data();
    auto heap_order = [&](const Candidate& a, const Candidate& b) { return before(b, a); };
    std::make_heap(c, c + n, heap_order);
    double kept = 0;
    size_t left = n;
    while (left > 0 && kept < sum) {
        std::pop_heap(c, c + left, heap_order);
        Candidate& taken = c[--left];
        taken.weight = weights_[static_cast<size_t>(taken.token)];
        kept += taken.weight;
    }
    std::copy(c + left, c + n, c);
    total_ = kept;
    return n - left;
}

// The tokens whose surprise is nearest to the entropy, until their sum reaches typical_p.
size_t Sampler::keep_typical(size_t n) {
    if (sampling_.typical_p >= 1) return n;
    Candidate* c = candidates_.data();
    const double log_total = std::log(total_);
    double entropy = 0;
    for (size_t i = 0; i < n; i++) {
        const double weight = c[i].weight, surprise = log_total - std::log(weight);
        if (weight > 0) entropy += weight / total_ * surprise;
        c[i].weight = static_cast<float>(surprise);
    }
    for (size_t i = 0; i < n; i++) {
        c[i].weight = static_cast<float>(std::fabs(c[i].weight - entropy));
    }
    return keep_until(n, sampling_.typical_p * total_, [](const Candidate& a, const Candidate& b) {
        return a.weight != b.weight ? a.weight < b.weight : a.token < b.token;
    });
}

// The likeliest tokens until their sum reaches top_p.
size_t Sampler::keep_top_p(size_t n) {
    return sampling_.top_p >= 1 ? n : keep_until(n, sampling_.top_p * total_, likelier);
}

size_t Sampler::keep_min_p(size_t n) {
    if (sampling_.min_p <= 0) return n;
    Candidate* c = candidates_.data();
    float floor = std::min_element(c, c + n, likelier)->weight * sampling_.min_p;
    auto unlikely = [floor](const Candidate& x) { return x.weight < floor; };
    return static_cast<size_t>(std::remove_if(c, c + n, unlikely) - c);
}

int32_t Sampler::draw(size_t n) {
    Candidate* c = candidates_.data();
    double total = 0;
    for (size_t i = 0; i < n; i++) total += c[i].weight;
    double target = uniform() * total;
    for (size_t i = 0; i < n; i++) {
        target -= c[i].weight;
        if (target < 0) return c[i].token;
    }
    // Rounding may leave a crumb: it goes to the likeliest.
    return std::min_element(c, c + n, likelier)->token;
}

// The same from weights_, all of them.
int32_t Sampler::draw_from_all() {
    double target = uniform() * total_;
    for (size_t i = 0; i < vocabulary_; i += block) {
        if (target >= sums_[i / block]) {
            target -= sums_[i / block];
            continue;
        }
        for (size_t j = i; j < std::min(i + block, vocabulary_); j++) {
            target -= weights_[j];
            if (target < 0) return static_cast<int32_t>(j);
        }
        break;
    }
    return argmax(weights_.data(), vocabulary_);
}

// [0, 1), from the seed and the number of draws so far (SplitMix64, Steele et al. 2014).
double Sampler::uniform() {
    uint64_t z = sampling_.seed + 0x9e3779b97f4a7c15u * ++draws_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

}  // namespace penlight::llm
