// The arithmetic of attention.h.
#include "gemm.simd.h"

using kernels::Attention;
using kernels::attention_chunk;
using kernels::attention_rows;

PENLIGHT_INLINE V load_from(const float* p) { return vload(p); }
PENLIGHT_INLINE V load_from(const uint16_t* p) { return vload_half(p); }
PENLIGHT_INLINE V load_from(const int8_t* p) { return vload_int8(p); }
template <class T> PENLIGHT_INLINE V load_some(const T* p, int64_t n) {
    T padded[lanes] = {};
    memcpy(padded, p, static_cast<size_t>(n) * sizeof(T));
    return load_from(padded);
}

// Rows of int8 end with a scale.
template <class T> constexpr bool scaled = sizeof(T) == 1;
PENLIGHT_INLINE float scale_of(const int8_t* row, int64_t dim) {
    float scale;
    memcpy(&scale, row + dim, sizeof scale);
    return scale;
}
// Elements d to d + lanes - 1 of a row; zeros past its end.
template <class T> PENLIGHT_INLINE V load_padded(const T* row, int64_t d, int64_t dim) {
    const int64_t n = dim - d;
    const V v = n >= lanes ? load_from(row + d) : n > 0 ? load_some(row + d, n) : vzero();
    if constexpr (scaled<T>) return vmul(v, vset(scale_of(row, dim)));
    return v;
}

// Scores of one row, visible in [begin, end), to weights 2^(s - max) with s in units of ln 2;
// elsewhere 0. Returns the maximum, which is at least `least`, and the weights' sum.
float softmax_row(const Attention& a, int64_t begin, int64_t end, float least, float* scores,
                  float* sum) {
    constexpr float lowest = -3e38f, log2_e = 1.44269504f;
    *sum = 0;
    if (begin >= end) {
        memset(scores, 0, attention_chunk * sizeof(float));
        return least;
    }
    const int64_t first = begin / lanes * lanes, last = (end + lanes - 1) / lanes * lanes;
    const V scale = vset(a.softcap > 0 ? 2 * a.scale / a.softcap : a.scale * log2_e);
    for (int64_t i = first; i < last; i += lanes) {
        V s = vmul(vload(scores + i), scale);
        if (a.softcap > 0) {  // cap * tanh(s / cap), tanh x = 1 - 2 / (1 + e^2x)
            const V t = vsub(vset(1.0f), vdiv(vset(2.0f), vadd(vset(1.0f), vexp(s))));
            s = vmul(t, vset(a.softcap * log2_e));
        }
        vstore(scores + i, s);
    }
    for (int64_t i = first; i < begin; i++) scores[i] = lowest;
    for (int64_t i = end; i < last; i++) scores[i] = lowest;
    V most = vset(least > lowest ? least : lowest);
    for (int64_t i = first; i < last; i += lanes) most = vmax(most, vload(scores + i));
    const float maximum = vmax_of(most);
    for (int64_t i = first; i < last; i += lanes)
        vstore(scores + i, vexp2(vsub(vload(scores + i), vset(maximum))));
    for (int64_t i = 0; i < begin; i++) scores[i] = 0;
    for (int64_t i = end; i < attention_chunk; i++) scores[i] = 0;
    V total = vzero();
    for (int64_t i = first; i < last; i += lanes) total = vadd(total, vload(scores + i));
    *sum = vsum(total);
    return maximum;
}

#include "attention_operands.simd.h"

#include "attention_prefill.simd.h"

#if !defined(PENLIGHT_TARGET_AVX512BF16)
#include "attention_decode.simd.h"
#endif
