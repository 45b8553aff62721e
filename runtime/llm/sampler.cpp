#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace penlight::llm {

int32_t argmax(const float* logits, size_t count) {
    int32_t best = -1;
    float highest = -std::numeric_limits<float>::infinity();
    for (size_t i = 0; i < count; i++) {
        if (logits[i] > highest || (best < 0 && logits[i] == highest)) {
            highest = logits[i];
            best = static_cast<int32_t>(i);
        }
    }
    return best;
}

float log_probability(const float* logits, size_t count, int32_t token) {
    int32_t best = argmax(logits, count);
    if (best < 0) return std::numeric_limits<float>::quiet_NaN();
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (logits[i] == logits[i]) sum += std::exp(logits[i] - logits[best]);
    }
    return static_cast<float>(logits[token] - logits[best] - std::log(sum));
}

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
    return candidates_.resize(vocabulary_size) && adjusted_.resize(vocabulary_size) &&
           counts_.resize(vocabulary_size);
}

// A strict order over (logit, id), so that the outcome never depends on the sorting algorithm.
bool Sampler::likelier(const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

int32_t Sampler::sample(const float* logits, const int32_t* history, size_t count) {
    if (penalised()) {
        std::copy(logits, logits + vocabulary_, adjusted_.data());
        penalise(history, count);
        logits = adjusted_.data();
    }
    if (sampling_.temperature == 0) return argmax(logits, vocabulary_);
    size_t n = collect(logits);
    if (n == 0) return -1;
    n = keep_top_k(n);
    soften(n);
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

// Every token with a number for a logit; -> how many.
size_t Sampler::collect(const float* logits) {
    size_t n = 0;
    for (size_t i = 0; i < vocabulary_; i++) {
        if (logits[i] > -std::numeric_limits<float>::infinity()) {  // false for NaN
            candidates_[n++] = {logits[i], static_cast<int32_t>(i)};
        }
    }
    return n;
}

size_t Sampler::keep_top_k(size_t n) {
    size_t k = sampling_.top_k;
    if (k == 0 || k >= n) return n;
    Candidate* c = candidates_.data();
    std::nth_element(c, c + k, c + n, likelier);
    std::sort(c, c + k, likelier);  // one order on every platform, so that a seed means the same
    return k;
}

// softmax(logit / temperature) in place.
void Sampler::soften(size_t n) {
    Candidate* c = candidates_.data();
    float highest = std::min_element(c, c + n, likelier)->logit;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        // Two infinities among the logits share all the probability.
        float distance = c[i].logit == highest ? 0 : (c[i].logit - highest) / sampling_.temperature;
        c[i].logit = std::exp(distance);
        sum += c[i].logit;
    }
    for (size_t i = 0; i < n; i++) c[i].logit = static_cast<float>(c[i].logit / sum);
}

// The tokens whose surprise is nearest to the entropy, until their sum reaches typical_p.
size_t Sampler::keep_typical(size_t n) {
    if (sampling_.typical_p >= 1) return n;
    Candidate* c = candidates_.data();
    double entropy = 0;
    for (size_t i = 0; i < n; i++) {
        if (c[i].logit > 0) entropy -= c[i].logit * std::log(c[i].logit);
    }
    auto distance = [entropy](const Candidate& x) {
        return x.logit > 0 ? std::fabs(-std::log(x.logit) - entropy)
                           : std::numeric_limits<double>::infinity();
    };
    std::sort(c, c + n, [&](const Candidate& a, const Candidate& b) {
        double da = distance(a), db = distance(b);
        return da != db ? da < db : a.token < b.token;
    });
    double sum = 0;
    size_t kept = 0;
    while (kept < n && sum < sampling_.typical_p) sum += c[kept++].logit;
    return kept;
}

// The likeliest tokens until their sum reaches top_p, taken from a heap: few are needed of many.
size_t Sampler::keep_top_p(size_t n) {
    if (sampling_.top_p >= 1) return n;
    Candidate* c = candidates_.data();
    auto heap_order = [](const Candidate& a, const Candidate& b) { return likelier(b, a); };
    double total = 0;
    for (size_t i = 0; i < n; i++) total += c[i].logit;
    std::make_heap(c, c + n, heap_order);
    double sum = 0;
    size_t left = n;
    while (left > 0 && sum < sampling_.top_p * total) {
        std::pop_heap(c, c + left, heap_order);
        sum += c[--left].logit;
    }
    size_t kept = n - left;
    std::copy(c + left, c + n, c);
    return kept;
}

size_t Sampler::keep_min_p(size_t n) {
    if (sampling_.min_p <= 0) return n;
    Candidate* c = candidates_.data();
    float floor = std::min_element(c, c + n, likelier)->logit * sampling_.min_p;
    auto unlikely = [floor](const Candidate& x) { return x.logit < floor; };
    return static_cast<size_t>(std::remove_if(c, c + n, unlikely) - c);
}

int32_t Sampler::draw(size_t n) {
    Candidate* c = candidates_.data();
    double total = 0;
    for (size_t i = 0; i < n; i++) total += c[i].logit;
    double target = uniform() * total;
    for (size_t i = 0; i < n; i++) {
        target -= c[i].logit;
        if (target < 0) return c[i].token;
    }
    // Rounding may leave a crumb: it goes to the likeliest.
    return std::min_element(c, c + n, likelier)->token;
}

// [0, 1), from the seed and the number of draws so far (SplitMix64, Steele et al. 2014).
double Sampler::uniform() {
    uint64_t z = sampling_.seed + 0x9e3779b97f4a7c15u * ++draws_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

}  // namespace penlight::llm
