// Element types of kernels: conversion, promotion, and blocks of elements as numbers to compute on.
//
//   visit_dtype(x.dtype, [&](auto type) {             // T: float, int64_t, Half, Bool, ...
//       using T = typename decltype(type)::type;
//       float y = convert<float>(x.ptr<T>()[0]);
//   });
//
//   // Any dtype, any stride, as float: no code per dtype in the kernel itself.
//   float block[64];
//   load_function(Compute::f32, x.dtype)(x.data, /*stride=*/3, /*count=*/64, block);
//
// Every conversion is defined for every value: integers wrap, and a real number that no int64 can
// hold (NaN too) becomes the least int64.
#pragma once

#include <bit>
#include <cmath>
#include <limits>

#include "kernel.h"

namespace penlight::kernels {

// Compilers may assume that iterations do not depend on each other (in == out is allowed).
#if defined(__clang__)
#define PENLIGHT_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define PENLIGHT_INDEPENDENT _Pragma("GCC ivdep")
#else
#define PENLIGHT_INDEPENDENT
#endif

struct Half {
    uint16_t bits;
};
struct BFloat16 {
    uint16_t bits;
};
struct Bool {
    uint8_t bits;
};

inline float half_to_float(uint16_t h) {
    // The exponent's bias grows from 15 to 127; the product also normalises subnormals.
    const uint32_t magnitude = static_cast<uint32_t>(h & 0x7fff) << 13;
    uint32_t bits = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
    bits |= (h & 0x7c00) == 0x7c00 ? 0x7f800000u : 0u;
    return std::bit_cast<float>(bits | static_cast<uint32_t>(h & 0x8000) << 16);
}

// Rounds to nearest, ties to even.
inline uint16_t float_to_half(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t sign = bits >> 16 & 0x8000;
    const uint32_t magnitude = bits & 0x7fffffff;
    // All cases are computed, for compilers to vectorise. Below 2^-14, 0.5 has the ulp of half's
    // subnormals.
    const uint32_t normal = (magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000) >> 13;
    const uint32_t subnormal =
        std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000;
    uint32_t result = magnitude < 0x38800000 ? subnormal : normal;
    result = magnitude >= 0x47800000 ? 0x7c00 : result;  // 2^16 and above
    result = magnitude > 0x7f800000 ? 0x7e00 : result;
    return static_cast<uint16_t>(result | sign);
}

inline float bfloat16_to_float(uint16_t b) {
    return std::bit_cast<float>(static_cast<uint32_t>(b) << 16);
}

inline uint16_t float_to_bfloat16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline int64_t real_to_int64(double value) {
    if (!(value >= -0x1p63 && value < 0x1p63)) return std::numeric_limits<int64_t>::min();
    return static_cast<int64_t>(value);
}

template <class T> inline constexpr bool is_real = std::is_floating_point_v<T>;

template <class To, class From> inline To convert(From value) {
    if constexpr (std::is_same_v<To, From>) {
        return value;
    } else if constexpr (std::is_same_v<From, Half>) {
        return convert<To>(half_to_float(value.bits));
    } else if constexpr (std::is_same_v<From, BFloat16>) {
        return convert<To>(bfloat16_to_float(value.bits));
    } else if constexpr (std::is_same_v<From, Bool>) {
        return convert<To>(static_cast<uint8_t>(value.bits != 0));
    } else if constexpr (std::is_same_v<To, Half>) {
        return Half{float_to_half(static_cast<float>(value))};
    } else if constexpr (std::is_same_v<To, BFloat16>) {
        return BFloat16{float_to_bfloat16(static_cast<float>(value))};
    } else if constexpr (std::is_same_v<To, Bool>) {
        return Bool{static_cast<uint8_t>(value != From{0})};
    } else if constexpr (is_real<From> && std::is_same_v<To, uint64_t>) {
        if (value >= From(0x1p63) && value < From(0x1p64)) return static_cast<uint64_t>(value);
        return static_cast<uint64_t>(real_to_int64(value));
    } else if constexpr (is_real<From> && !is_real<To>) {
        return static_cast<To>(real_to_int64(value));
    } else {
        return static_cast<To>(value);
    }
}

template <class T> struct Type {
    using type = T;
};

// f(Type<T>{}) with T for dtype. False, and no call, if there is no such dtype.
template <class F> inline bool visit_dtype(int32_t dtype, const F& f) {
    switch (dtype) {
        case PENLIGHT_UINT8: return f(Type<uint8_t>{}), true;
        case PENLIGHT_INT8: return f(Type<int8_t>{}), true;
        case PENLIGHT_INT16: return f(Type<int16_t>{}), true;
        case PENLIGHT_INT32: return f(Type<int32_t>{}), true;
        case PENLIGHT_INT64: return f(Type<int64_t>{}), true;
        case PENLIGHT_HALF: return f(Type<Half>{}), true;
        case PENLIGHT_FLOAT: return f(Type<float>{}), true;
        case PENLIGHT_DOUBLE: return f(Type<double>{}), true;
        case PENLIGHT_BOOL: return f(Type<Bool>{}), true;
        case PENLIGHT_BFLOAT16: return f(Type<BFloat16>{}), true;
        case PENLIGHT_UINT16: return f(Type<uint16_t>{}), true;
        case PENLIGHT_UINT32: return f(Type<uint32_t>{}), true;
        case PENLIGHT_UINT64: return f(Type<uint64_t>{}), true;
        default: return false;
    }
}

inline bool is_floating(int32_t dtype) {
    return dtype == PENLIGHT_FLOAT || dtype == PENLIGHT_DOUBLE || dtype == PENLIGHT_HALF ||
           dtype == PENLIGHT_BFLOAT16;
}
// uint16, uint32 and uint64 promote with floating types and themselves alone.
inline bool is_wide_unsigned(int32_t dtype) {
    return dtype >= PENLIGHT_UINT16 && dtype <= PENLIGHT_UINT64;
}

// torch.promote_types; -1 where there is no common type.
int32_t promote(int32_t a, int32_t b);
// torch.can_cast: never real to integer, nor a number to bool.
bool can_cast(int32_t from, int32_t to);

// What a block is computed in: half and bfloat16 as float; integers and bool as int64.
enum class Compute : uint8_t { f32, f64, i64 };
inline Compute compute_type(int32_t dtype) {
    if (dtype == PENLIGHT_DOUBLE) return Compute::f64;
    return is_floating(dtype) ? Compute::f32 : Compute::i64;
}
inline size_t compute_size(Compute c) { return c == Compute::f32 ? 4 : 8; }
inline int32_t compute_dtype(Compute c) {
    return c == Compute::f32   ? PENLIGHT_FLOAT
           : c == Compute::f64 ? PENLIGHT_DOUBLE
                               : PENLIGHT_INT64;
}

// to[i] = from[i * stride] for i in [0, count); the stride is in elements, `to` is a compute type.
using LoadFunction = void (*)(const void* from, int64_t stride, int64_t count, void* to);
// to[i * stride] = from[i]; `from` is a compute type.
using StoreFunction = void (*)(const void* from, int64_t stride, int64_t count, void* to);
LoadFunction load_function(Compute c, int32_t dtype);  // null for an unknown dtype
StoreFunction store_function(Compute c, int32_t dtype);

}  // namespace penlight::kernels
