#include "dtype.h"

namespace penlight::kernels {

int32_t promote(int32_t a, int32_t b) {
    if (a == b) return a;
    const bool real_a = is_floating(a), real_b = is_floating(b);
    if (real_a && real_b) {
        if (a == PENLIGHT_DOUBLE || b == PENLIGHT_DOUBLE) return PENLIGHT_DOUBLE;
        return PENLIGHT_FLOAT;  // float with a half type, or the two half types
    }
    if (real_a) return a;
    if (real_b) return b;
    if (is_wide_unsigned(a) || is_wide_unsigned(b)) return -1;
    if (a == PENLIGHT_BOOL) return b;
    if (b == PENLIGHT_BOOL) return a;
    // The codes of uint8, int8, ..., int64 grow with the range; only the first two do not nest.
    const int32_t larger = a > b ? a : b;
    return larger == PENLIGHT_INT8 ? PENLIGHT_INT16 : larger;
}

bool can_cast(int32_t from, int32_t to) {
    if (is_floating(from) && !is_floating(to)) return false;
    return from == PENLIGHT_BOOL || to != PENLIGHT_BOOL;
}

template <class T, class C>
static void load(const void* from, int64_t stride, int64_t count, void* to) {
    const T* x = static_cast<const T*>(from);
    C* y = static_cast<C*>(to);
    if (stride == 1) {
        PENLIGHT_INDEPENDENT
        for (int64_t i = 0; i < count; i++) y[i] = convert<C>(x[i]);
    } else {
        for (int64_t i = 0; i < count; i++) y[i] = convert<C>(x[i * stride]);
    }
}

template <class T, class C>
static void store(const void* from, int64_t stride, int64_t count, void* to) {
    const C* x = static_cast<const C*>(from);
    T* y = static_cast<T*>(to);
    if (stride == 1) {
        PENLIGHT_INDEPENDENT
        for (int64_t i = 0; i < count; i++) y[i] = convert<T>(x[i]);
    } else {
        for (int64_t i = 0; i < count; i++) y[i * stride] = convert<T>(x[i]);
    }
}

LoadFunction load_function(Compute c, int32_t dtype) {
    LoadFunction f = nullptr;
    visit_dtype(dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        f = c == Compute::f32   ? &load<T, float>
            : c == Compute::f64 ? &load<T, double>
                                : &load<T, int64_t>;
    });
    return f;
}

StoreFunction store_function(Compute c, int32_t dtype) {
    StoreFunction f = nullptr;
    visit_dtype(dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        f = c == Compute::f32   ? &store<T, float>
            : c == Compute::f64 ? &store<T, double>
                                : &store<T, int64_t>;
    });
    return f;
}

}  // namespace penlight::kernels
