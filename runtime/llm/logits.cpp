#include "logits.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace penlight::llm {
namespace {

using F = float __attribute__((vector_size(16)));
using I = int32_t __attribute__((vector_size(16)));
constexpr size_t lanes = 4, unroll = 4;
constexpr size_t block = 1024;
constexpr float lowest = -std::numeric_limits<float>::infinity();

F set(float x) { return F{x, x, x, x}; }
F load(const float* p) {
    F v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
// The first n, and -infinity.
F load_n(const float* p, size_t n) {
    F v = set(lowest);
    std::memcpy(&v, p, n * sizeof(float));
    return v;
}

// e^x for -87 <= x <= 0: x = n ln 2 + r with |r| <= ln 2 / 2, then the Taylor series of e^r. Adding
// 1.5 * 2^23 rounds to an integer, which the low bits of the sum hold.
F exponential(F x) {
    const F shifted = x * 1.44269504f + 12582912.0f;
    const F n = shifted - 12582912.0f;
    F r = x - n * 0.693359375f;  // ln 2 in two parts, the first exact in 9 bits
    r = r + n * 2.12194440e-4f;
    F p = set(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const I exponent = (reinterpret_cast<I>(shifted) - (0x4b400000 - 127)) << 23;
    return p * reinterpret_cast<F>(exponent);
}

F weight(F logits, float top, float scale) {
    constexpr float least = -87;
    // Several infinities share all the probability; their difference would be NaN.
    F distance = logits == top ? set(0) : (logits - top) * scale;
    const I heard = distance > least;
    distance = heard ? distance : set(least);
    return heard ? exponential(distance) : set(0);
}

}  // namespace

float highest(const float* logits, size_t count) {
    F most[unroll];
    std::fill(most, most + unroll, set(lowest));
    size_t i = 0;
    for (; i + unroll * lanes <= count; i += unroll * lanes) {
        for (size_t j = 0; j < unroll; j++) {
            const F x = load(logits + i + j * lanes);
            most[j] = x > most[j] ? x : most[j];  // false for NaN
        }
    }
    for (; i < count; i += lanes) {
        const F x = load_n(logits + i, std::min(lanes, count - i));
        most[0] = x > most[0] ? x : most[0];
    }
    for (size_t j = 1; j < unroll; j++) most[0] = most[j] > most[0] ? most[j] : most[0];
    return std::max(std::max(most[0][0], most[0][1]), std::max(most[0][2], most[0][3]));
}

int32_t argmax(const float* logits, size_t count) {
    float top = lowest;
    size_t begin = 0;
    for (size_t i = 0; i < count; i += block) {
        const float found = highest(logits + i, std::min(block, count - i));
        if (found > top) top = found, begin = i;
    }
    const float* at = std::find(logits + begin, logits + count, top);
    return at < logits + count ? static_cast<int32_t>(at - logits) : -1;
}

float weigh(const float* logits, size_t count, float top, float scale, float* weights) {
    F sums[unroll] = {};
    for (size_t i = 0; i < count; i += lanes) {
        const size_t n = std::min(lanes, count - i);
        const F w = weight(n == lanes ? load(logits + i) : load_n(logits + i, n), top, scale);
        std::memcpy(weights + i, &w, n * sizeof(float));
        sums[i / lanes % unroll] += w;
    }
    const F sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

float log_probability(const float* logits, size_t count, int32_t token) {
    const float top = highest(logits, count);
    if (top == lowest) return std::numeric_limits<float>::quiet_NaN();
    float weights[block];
    double sum = 0;
    for (size_t i = 0; i < count; i += block) {
        sum += weigh(logits + i, std::min(block, count - i), top, 1, weights);
    }
    return static_cast<float>(logits[token] - top - std::log(sum));
}

}  // namespace penlight::llm
