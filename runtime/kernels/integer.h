// Integer arithmetic which is defined for every value: it wraps, as two's complement does.
#pragma once

#include <cstdint>
#include <limits>

namespace penlight::kernels {

inline int64_t wrap_add(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
inline int64_t wrap_subtract(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}
inline int64_t wrap_multiply(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

// Division towards zero, and its remainder; b is not 0.
inline int64_t truncated_quotient(int64_t a, int64_t b) {
    return b == -1 ? wrap_subtract(0, a) : a / b;
}
inline int64_t truncated_remainder(int64_t a, int64_t b) { return b == -1 ? 0 : a % b; }

// Division towards minus infinity; the remainder takes the sign of b.
inline int64_t floored_quotient(int64_t a, int64_t b) {
    const int64_t remainder = truncated_remainder(a, b);
    return truncated_quotient(a, b) - (remainder != 0 && (remainder < 0) != (b < 0));
}
inline int64_t floored_remainder(int64_t a, int64_t b) {
    const int64_t remainder = truncated_remainder(a, b);
    return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

// A negative exponent gives the quotient 1 / base^|exponent|, towards zero; 0 for base 0.
inline int64_t wrap_power(int64_t base, int64_t exponent) {
    if (exponent < 0) {
        if (base == 1) return 1;
        if (base == -1) return exponent % 2 != 0 ? -1 : 1;
        return 0;
    }
    uint64_t result = 1, square = static_cast<uint64_t>(base);
    for (; exponent != 0; exponent >>= 1, square *= square) {
        if (exponent & 1) result *= square;
    }
    return static_cast<int64_t>(result);
}

// Counts below 0 or above the width shift everything out, as in PyTorch.
inline int64_t shift_left(int64_t a, int64_t count) {
    if (count < 0 || count > 63) return 0;
    return static_cast<int64_t>(static_cast<uint64_t>(a) << count);
}
inline int64_t shift_right(int64_t a, int64_t count) {
    return a >> (count < 0 || count > 63 ? 63 : count);
}

}  // namespace penlight::kernels
