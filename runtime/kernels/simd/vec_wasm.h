// vec.h for WebAssembly SIMD128.
[[maybe_unused]] constexpr int lanes = 4;
[[maybe_unused]] constexpr bool dot_u8_centred = true;
using V = v128_t;
using I = v128_t;
using W = v128_t;
using X = v128_t;
using P = v128_t;
PENLIGHT_INLINE V vzero() { return wasm_f32x4_const_splat(0); }
PENLIGHT_INLINE V vset(float x) { return wasm_f32x4_splat(x); }
PENLIGHT_INLINE V vload(const float* p) { return wasm_v128_load(p); }
PENLIGHT_INLINE void vstore(float* p, V v) { wasm_v128_store(p, v); }
PENLIGHT_INLINE V vload_n(const float* p, int64_t n) {
    float t[4] = {};
    for (int64_t i = 0; i < n; i++) t[i] = p[i];
    return wasm_v128_load(t);
}
PENLIGHT_INLINE void vstore_n(float* p, V v, int64_t n) {
    float t[4];
    wasm_v128_store(t, v);
    for (int64_t i = 0; i < n; i++) p[i] = t[i];
}
PENLIGHT_INLINE V vadd(V a, V b) { return wasm_f32x4_add(a, b); }
PENLIGHT_INLINE V vsub(V a, V b) { return wasm_f32x4_sub(a, b); }
PENLIGHT_INLINE V vmul(V a, V b) { return wasm_f32x4_mul(a, b); }
PENLIGHT_INLINE V vdiv(V a, V b) { return wasm_f32x4_div(a, b); }
PENLIGHT_INLINE V vfma(V a, V b, V c) { return wasm_f32x4_add(wasm_f32x4_mul(a, b), c); }
PENLIGHT_INLINE V vmax(V a, V b) { return wasm_f32x4_pmax(b, a); }
PENLIGHT_INLINE V vmin(V a, V b) { return wasm_f32x4_pmin(b, a); }
PENLIGHT_INLINE V vabs(V a) { return wasm_f32x4_abs(a); }
PENLIGHT_INLINE V vround(V a) { return wasm_f32x4_nearest(a); }
PENLIGHT_INLINE float vsum(V a) {
    V s = wasm_f32x4_add(a, wasm_i32x4_shuffle(a, a, 2, 3, 0, 1));
    return wasm_f32x4_extract_lane(s, 0) + wasm_f32x4_extract_lane(s, 1);
}
PENLIGHT_INLINE float vmax_of(V a) {
    V s = wasm_f32x4_pmax(a, wasm_i32x4_shuffle(a, a, 2, 3, 0, 1));
    float x = wasm_f32x4_extract_lane(s, 0), y = wasm_f32x4_extract_lane(s, 1);
    return x > y ? x : y;
}
[[maybe_unused]] constexpr int folds = 4;
template <V (*Op)(V, V)> PENLIGHT_INLINE V vfold(const V (&a)[folds]) {
    V ab =
        Op(wasm_i32x4_shuffle(a[0], a[1], 0, 4, 1, 5), wasm_i32x4_shuffle(a[0], a[1], 2, 6, 3, 7));
    V cd =
        Op(wasm_i32x4_shuffle(a[2], a[3], 0, 4, 1, 5), wasm_i32x4_shuffle(a[2], a[3], 2, 6, 3, 7));
    return Op(wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5), wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7));
}
PENLIGHT_INLINE void vtranspose(V* v) {
    V a = wasm_i32x4_shuffle(v[0], v[1], 0, 4, 1, 5),
      b = wasm_i32x4_shuffle(v[0], v[1], 2, 6, 3, 7);
    V c = wasm_i32x4_shuffle(v[2], v[3], 0, 4, 1, 5),
      d = wasm_i32x4_shuffle(v[2], v[3], 2, 6, 3, 7);
    v[0] = wasm_i32x4_shuffle(a, c, 0, 1, 4, 5), v[1] = wasm_i32x4_shuffle(a, c, 2, 3, 6, 7);
    v[2] = wasm_i32x4_shuffle(b, d, 0, 1, 4, 5), v[3] = wasm_i32x4_shuffle(b, d, 2, 3, 6, 7);
}
[[maybe_unused]] constexpr int quad = 4;
PENLIGHT_INLINE V pairs_added(V a, V b) {
    return wasm_f32x4_add(wasm_i32x4_shuffle(a, b, 0, 2, 4, 6),
                          wasm_i32x4_shuffle(a, b, 1, 3, 5, 7));
}
PENLIGHT_INLINE V vquad(const V* v) {
    return pairs_added(pairs_added(v[0], v[1]), pairs_added(v[2], v[3]));
}
PENLIGHT_INLINE V vsums(const V* v) { return v[0]; }
PENLIGHT_INLINE V vpow2(V n) {
    v128_t e = wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(n), wasm_i32x4_const_splat(127));
    return wasm_i32x4_shl(e, 23);
}
PENLIGHT_INLINE V vexponent(V a) {
    v128_t e = wasm_u32x4_shr(a, 23);
    return wasm_f32x4_convert_i32x4(wasm_i32x4_sub(e, wasm_i32x4_const_splat(127)));
}
PENLIGHT_INLINE V vscale_by(V n) { return vpow2(n); }
PENLIGHT_INLINE V vscale(V a, V s) { return vmul(a, s); }
PENLIGHT_INLINE V vload_half(const uint16_t* p) {
    v128_t h = wasm_u32x4_load16x4(p);
    v128_t sign = wasm_i32x4_shl(wasm_v128_and(h, wasm_i32x4_const_splat(0x8000)), 16);
    v128_t magnitude = wasm_i32x4_shl(wasm_v128_and(h, wasm_i32x4_const_splat(0x7fff)), 13);
    v128_t exponent = wasm_v128_and(h, wasm_i32x4_const_splat(0x7c00));
    v128_t special = wasm_v128_and(wasm_i32x4_eq(exponent, wasm_i32x4_const_splat(0x7c00)),
                                   wasm_i32x4_const_splat(0x7f800000));
    v128_t f = wasm_f32x4_mul(magnitude, wasm_f32x4_const_splat(0x1p112f));
    return wasm_v128_or(wasm_v128_or(f, special), sign);
}
PENLIGHT_INLINE void vstore_half(uint16_t* p, V v) {
    float t[4];
    wasm_v128_store(t, v);
    for (int i = 0; i < 4; i++) p[i] = kernels::float_to_half(t[i]);
}
PENLIGHT_INLINE V vload_bfloat16(const uint16_t* p) {
    return wasm_i32x4_shl(wasm_u32x4_load16x4(p), 16);
}
PENLIGHT_INLINE I iload_uint8(const uint8_t* p) {
    return wasm_u32x4_extend_low_u16x8(wasm_u16x8_extend_low_u8x16(wasm_v128_load32_zero(p)));
}
PENLIGHT_INLINE I iload_int8(const int8_t* p) {
    return wasm_i32x4_extend_low_i16x8(wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(p)));
}
PENLIGHT_INLINE V vload_int8(const int8_t* p) { return wasm_f32x4_convert_i32x4(iload_int8(p)); }
PENLIGHT_INLINE void vstore_int8(int8_t* p, V v) {
    v128_t i = wasm_i32x4_trunc_sat_f32x4(v);
    v128_t h = wasm_i16x8_narrow_i32x4(i, i);
    wasm_v128_store32_lane(p, wasm_i8x16_narrow_i16x8(h, h), 0);
}

PENLIGHT_INLINE I iround(V v) { return wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(v)); }
PENLIGHT_INLINE void istore(int32_t* p, I a) { wasm_v128_store(p, a); }
PENLIGHT_INLINE I iset(int32_t x) { return wasm_i32x4_splat(x); }
PENLIGHT_INLINE I ijoin(I high, I low) { return wasm_i32x4_add(wasm_i32x4_shl(high, 7), low); }
PENLIGHT_INLINE I iload_shift(const int32_t* p) {
    return wasm_v128_and(wasm_v128_load(p), wasm_i32x4_const_splat(7));
}
PENLIGHT_INLINE I ishift(I a, I n) {  // a multiple of 2^n, there being no shift by lane
    v128_t power = wasm_i32x4_shl(wasm_i32x4_add(n, wasm_i32x4_const_splat(127)), 23);
    return wasm_i32x4_mul(a, wasm_i32x4_trunc_sat_f32x4(power));
}
PENLIGHT_INLINE P pjoin(I a, I b) {
    return wasm_v128_or(wasm_v128_and(a, wasm_i32x4_const_splat(0xffff)), wasm_i32x4_shl(b, 16));
}
PENLIGHT_INLINE P pset(int32_t pair) { return wasm_i32x4_splat(pair); }
PENLIGHT_INLINE I pdot(I acc, P a, P b) { return wasm_i32x4_add(acc, wasm_i32x4_dot_i16x8(a, b)); }
PENLIGHT_INLINE V ifloat(I a) { return wasm_f32x4_convert_i32x4(a); }
PENLIGHT_INLINE W wload(const uint8_t* p) { return wasm_v128_load(p); }
PENLIGHT_INLINE W low_nibbles(W w) { return wasm_v128_and(w, wasm_i8x16_const_splat(15)); }
PENLIGHT_INLINE W high_nibbles(W w) { return wasm_u8x16_shr(w, 4); }
PENLIGHT_INLINE W with_upper(W w, W u, int k) {
    const W moved = k < 2 ? wasm_i32x4_shl(u, 4 - 2 * k) : wasm_u32x4_shr(u, 2 * k - 4);
    return wasm_v128_or(w, wasm_v128_and(moved, wasm_i8x16_const_splat(48)));
}
PENLIGHT_INLINE void wstore(uint8_t* p, W w) { wasm_v128_store(p, w); }
PENLIGHT_INLINE W wspread(W q, I scale, I offset) {
    const v128_t s = pjoin(scale, scale), o = pjoin(offset, offset);
    v128_t even = wasm_v128_and(q, wasm_i16x8_const_splat(255)), odd = wasm_u16x8_shr(q, 8);
    even = wasm_i16x8_add(wasm_i16x8_mul(even, s), o);
    odd = wasm_i16x8_add(wasm_i16x8_mul(odd, s), o);
    return wasm_i8x16_shuffle(even, odd, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
}
PENLIGHT_INLINE X xload(const int8_t* p) { return wasm_v128_load32_splat(p); }
#define PENLIGHT_TARGET_SHORT
struct S {
    v128_t low, high;  // of rows 0 0 0 0 1 1 1 1, 2 2 2 2 3 3 3 3
};
PENLIGHT_INLINE S szero() { return {wasm_i16x8_const_splat(0), wasm_i16x8_const_splat(0)}; }
PENLIGHT_INLINE S dot_u4(S acc, W w, X x) {
    return {wasm_i16x8_add(acc.low, wasm_i16x8_extmul_low_i8x16(w, x)),
            wasm_i16x8_add(acc.high, wasm_i16x8_extmul_high_i8x16(w, x))};
}
PENLIGHT_INLINE I iadd_short(I acc, S s) {
    v128_t low = wasm_i32x4_extadd_pairwise_i16x8(s.low);
    v128_t high = wasm_i32x4_extadd_pairwise_i16x8(s.high);
    v128_t even = wasm_i32x4_shuffle(low, high, 0, 2, 4, 6);
    v128_t odd = wasm_i32x4_shuffle(low, high, 1, 3, 5, 7);
    return wasm_i32x4_add(acc, wasm_i32x4_add(even, odd));
}
PENLIGHT_INLINE I dot_u4(I acc, W w, X x) {
    return iadd_short(acc, {wasm_i16x8_extmul_low_i8x16(w, x), wasm_i16x8_extmul_high_i8x16(w, x)});
}
PENLIGHT_INLINE I dot_u8(I acc, W w, X x) {
    return dot_u4(acc, wasm_v128_xor(w, wasm_i8x16_const_splat(-128)), x);
}
