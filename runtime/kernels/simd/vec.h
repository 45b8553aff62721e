// One small vector vocabulary over every instruction set (no include guard: see for_each_target.h).
//
//   V acc = vzero();                                       y = sum_i a[i] * b[i]
//   int64_t i = 0;
//   for (; i + lanes <= n; i += lanes) acc = vfma(vload(a + i), vload(b + i), acc);
//   if (i < n) acc = vfma(vload_n(a + i, n - i), vload_n(b + i, n - i), acc);
//   float y = vsum(acc);
//
// V   `lanes` floats. vload_n reads the first n < lanes elements, the rest is zero; vstore_n writes
//     them alone. vfma(a, b, c) = a * b + c. vround: to nearest, ties to even. vpow2: 2^v for
//     integral v in [-126, 127]; vexponent: floor(log2(v)) of normal v > 0. vscale(a, s): a * 2^n
//     for s = vscale_by(n), which is the exponent or the power, whichever takes less. *_half: IEEE
//     binary16, rounded to nearest even.
//     vfold<vadd>(a): lane i is the sum, or what else, of the lanes of a[i], for i < folds.
//     The sums of `lanes` vectors at once: vquad adds `quad` of them in part, and vsums(p)[i] is
//     the sum of vector i from lanes / quad such parts.
//     vtranspose(v): v[i][j] and v[j][i] of `lanes` vectors change places.
// I   `lanes` int32. ijoin(high, low) = 128 * high + low. ishift(a, n) = a * 2^n by lanes, with n
// of
//     iload_shift: of each number the low three bits.
// P   `lanes` pairs of int16. pjoin(a, b): of numbers within 16 bits, a first; pset: of the halves
// of
//     an int32, the low one first; pdot(acc, a, b): acc + a's first * b's first + second * second.
// W   `lanes` rows of four weight bytes, as the packed layout of quantised weights holds them.
//     wspread(w, a, b): of each byte of row r the high byte of w * a[r] + b[r] < 2^16.
//     with_upper(w, u, k): nibbles with bits 2k and 2k + 1 of the bytes of u above them.
// X   four int8 activations, repeated for each row.
// dot_u4(acc, w, x): acc[r] += sum_j w[r][j] * x[j] for w in 0..63.
// S   sums of nibbles' products (w in 0..15) in 16 bits, where PENLIGHT_TARGET_SHORT is defined:
// dot_u4 adds to
//     them as well, at most short_dots times, and iadd_short adds them to an I.
// dot_u8(acc, w, x): the same for any byte w, exactly; where dot_u8_centred it adds
//     sum_j (w[r][j] - 128) * x[j] instead, whichever the instruction set does best. x >= -127.
// With PENLIGHT_TARGET_I8MM also two rows by two columns of activations: a W or X is then two times
//     eight bytes, and I holds row 0 with columns 0 and 1, row 1 with columns 0 and 1. wzip_low and
//     wzip_high make rows 0 and 1, 2 and 3 of two W of four inputs each; izip_* and ieven, iodd go
//     from the sums of each column to those of each pair of rows, and back.
// With PENLIGHT_TARGET_AVX512BF16 a V also holds two bfloat16, rounded to nearest even, in the
// place of each float: lane i of vpairs(a, b) is numbers 2i and 2i + 1 of a and then b, lane i of
// vzip_pairs(a, b) is a[i] and b[i]. vfma_pairs(a, b, c) adds both products to the float c[i].
#ifndef PENLIGHT_INLINE
#define PENLIGHT_INLINE [[gnu::always_inline, maybe_unused]] inline
#endif
#undef PENLIGHT_TARGET_SHORT
[[maybe_unused]] constexpr int short_dots = 8;  // 8 * 2 * 15 * 128 < 2^15
#if defined(PENLIGHT_TARGET_AVX512)
#include "simd/vec_avx512.h"
#if defined(PENLIGHT_TARGET_AVX512BF16)
#include "simd/vec_bf16.h"
#endif
#elif defined(PENLIGHT_TARGET_AVX2)
#include "simd/vec_avx2.h"
#elif defined(PENLIGHT_TARGET_NEON)
#include "simd/vec_neon.h"
#elif defined(PENLIGHT_TARGET_WASM)
#include "simd/vec_wasm.h"
#else
#include "simd/vec_scalar.h"
#endif

// e^x to 2 units in the last place: x = n ln 2 + r with |r| <= ln 2 / 2, then the Taylor series of
// e^r to degree 7. Below -87.3 the result is that of -87.3 (1e-38); above 88 it is that of 88.
PENLIGHT_INLINE V vexp(V x) {
    x = vmax(vmin(x, vset(88.0f)), vset(-87.3f));
    V n = vround(vmul(x, vset(1.44269504f)));
    V r = vfma(n, vset(-0.693359375f), x);  // ln 2 in two parts, the first exact in 9 bits
    r = vfma(n, vset(2.12194440e-4f), r);
    V p = vset(1.0f / 5040);
    p = vfma(p, r, vset(1.0f / 720));
    p = vfma(p, r, vset(1.0f / 120));
    p = vfma(p, r, vset(1.0f / 24));
    p = vfma(p, r, vset(1.0f / 6));
    p = vfma(p, r, vset(0.5f));
    p = vfma(p, r, vset(1.0f));
    p = vfma(p, r, vset(1.0f));
    return vscale(p, vscale_by(n));
}
// 2^x to 2 units in the last place for x <= 0, by the Taylor series to degree 6 of 2^r, |r| <= 1/2.
// Below -126 the result is that of -126 (1e-38).
PENLIGHT_INLINE V vexp2(V x) {
    x = vmax(x, vset(-126.0f));
    V n = vround(x), r = vsub(x, n);
    V p = vset(1.54035304e-4f);
    p = vfma(p, r, vset(1.33335581e-3f));
    p = vfma(p, r, vset(9.61812911e-3f));
    p = vfma(p, r, vset(5.55041087e-2f));
    p = vfma(p, r, vset(0.240226507f));
    p = vfma(p, r, vset(0.693147181f));
    p = vfma(p, r, vset(1.0f));
    return vscale(p, vscale_by(n));
}
// 1 / (1 + e^-x)
PENLIGHT_INLINE V vsigmoid(V x) {
    return vdiv(vset(1.0f), vadd(vset(1.0f), vexp(vsub(vzero(), x))));
}
