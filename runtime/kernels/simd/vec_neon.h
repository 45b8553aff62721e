// vec.h for Arm Advanced SIMD; SDOT where PENLIGHT_TARGET_DOTPROD is defined, and USDOT where
// PENLIGHT_TARGET_I8MM is.
[[maybe_unused]] constexpr int lanes = 4;
#if defined(PENLIGHT_TARGET_I8MM)
[[maybe_unused]] constexpr bool dot_u8_centred = false;
#else
[[maybe_unused]] constexpr bool dot_u8_centred = true;
#endif
using V = float32x4_t;
using I = int32x4_t;
using W = uint8x16_t;
using X = int8x16_t;
struct P {
    int32x4_t first, second;  // products of 32 bits take as many instructions
};
PENLIGHT_INLINE V vzero() { return vdupq_n_f32(0); }
PENLIGHT_INLINE V vset(float x) { return vdupq_n_f32(x); }
PENLIGHT_INLINE V vload(const float* p) { return vld1q_f32(p); }
PENLIGHT_INLINE void vstore(float* p, V v) { vst1q_f32(p, v); }
PENLIGHT_INLINE V vload_n(const float* p, int64_t n) {
    float t[4] = {};
    for (int64_t i = 0; i < n; i++) t[i] = p[i];
    return vld1q_f32(t);
}
PENLIGHT_INLINE void vstore_n(float* p, V v, int64_t n) {
    float t[4];
    vst1q_f32(t, v);
    for (int64_t i = 0; i < n; i++) p[i] = t[i];
}
PENLIGHT_INLINE V vadd(V a, V b) { return vaddq_f32(a, b); }
PENLIGHT_INLINE V vsub(V a, V b) { return vsubq_f32(a, b); }
PENLIGHT_INLINE V vmul(V a, V b) { return vmulq_f32(a, b); }
PENLIGHT_INLINE V vdiv(V a, V b) { return vdivq_f32(a, b); }
PENLIGHT_INLINE V vfma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
PENLIGHT_INLINE V vmax(V a, V b) { return vmaxq_f32(a, b); }
PENLIGHT_INLINE V vmin(V a, V b) { return vminq_f32(a, b); }
PENLIGHT_INLINE V vabs(V a) { return vabsq_f32(a); }
PENLIGHT_INLINE V vround(V a) { return vrndnq_f32(a); }
PENLIGHT_INLINE float vsum(V a) { return vaddvq_f32(a); }
PENLIGHT_INLINE float vmax_of(V a) { return vmaxvq_f32(a); }
[[maybe_unused]] constexpr int folds = 4;
template <V (*Op)(V, V)> PENLIGHT_INLINE V vfold(const V (&a)[folds]) {
    float32x4x2_t ab = vzipq_f32(a[0], a[1]), cd = vzipq_f32(a[2], a[3]);
    V abs = Op(ab.val[0], ab.val[1]), cds = Op(cd.val[0], cd.val[1]);
    V low = vcombine_f32(vget_low_f32(abs), vget_low_f32(cds));
    V high = vcombine_f32(vget_high_f32(abs), vget_high_f32(cds));
    return Op(low, high);
}
PENLIGHT_INLINE void vtranspose(V* v) {
    float32x4x2_t ab = vtrnq_f32(v[0], v[1]), cd = vtrnq_f32(v[2], v[3]);
    v[0] = vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0]));
    v[1] = vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1]));
    v[2] = vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0]));
    v[3] = vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1]));
}
[[maybe_unused]] constexpr int quad = 4;
PENLIGHT_INLINE V vquad(const V* v) {
    return vpaddq_f32(vpaddq_f32(v[0], v[1]), vpaddq_f32(v[2], v[3]));
}
PENLIGHT_INLINE V vsums(const V* v) { return v[0]; }
PENLIGHT_INLINE V vpow2(V n) {
    int32x4_t e = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(e, 23));
}
PENLIGHT_INLINE V vexponent(V a) {
    int32x4_t e = vshrq_n_s32(vreinterpretq_s32_f32(a), 23);
    return vcvtq_f32_s32(vsubq_s32(e, vdupq_n_s32(127)));
}
PENLIGHT_INLINE V vscale_by(V n) { return vpow2(n); }
PENLIGHT_INLINE V vscale(V a, V s) { return vmul(a, s); }
PENLIGHT_INLINE V vload_half(const uint16_t* p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
PENLIGHT_INLINE void vstore_half(uint16_t* p, V v) {
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
}
PENLIGHT_INLINE V vload_bfloat16(const uint16_t* p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
PENLIGHT_INLINE I iload_uint8(const uint8_t* p) {
    uint32_t four;
    memcpy(&four, p, 4);
    uint8x8_t b = vreinterpret_u8_u32(vdup_n_u32(four));
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(b))));
}
PENLIGHT_INLINE I iload_int8(const int8_t* p) {
    int32_t four;
    memcpy(&four, p, 4);
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)))));
}
PENLIGHT_INLINE V vload_int8(const int8_t* p) { return vcvtq_f32_s32(iload_int8(p)); }
PENLIGHT_INLINE void vstore_int8(int8_t* p, V v) {
    int16x4_t h = vmovn_s32(vcvtq_s32_f32(v));
    int8x8_t b = vmovn_s16(vcombine_s16(h, h));
    memcpy(p, &b, 4);
}

PENLIGHT_INLINE I iround(V v) { return vcvtnq_s32_f32(v); }
PENLIGHT_INLINE void istore(int32_t* p, I a) { vst1q_s32(p, a); }
PENLIGHT_INLINE I iset(int32_t x) { return vdupq_n_s32(x); }
PENLIGHT_INLINE I ijoin(I high, I low) { return vaddq_s32(vshlq_n_s32(high, 7), low); }
PENLIGHT_INLINE I iload_shift(const int32_t* p) { return vandq_s32(vld1q_s32(p), vdupq_n_s32(7)); }
PENLIGHT_INLINE I ishift(I a, I n) { return vshlq_s32(a, n); }
PENLIGHT_INLINE P pjoin(I a, I b) { return {a, b}; }
PENLIGHT_INLINE P pset(int32_t pair) {
    return {vdupq_n_s32(static_cast<int16_t>(pair)), vdupq_n_s32(pair >> 16)};
}
PENLIGHT_INLINE I pdot(I acc, P a, P b) {
    return vmlaq_s32(vmlaq_s32(acc, a.first, b.first), a.second, b.second);
}
PENLIGHT_INLINE V ifloat(I a) { return vcvtq_f32_s32(a); }
PENLIGHT_INLINE W wload(const uint8_t* p) { return vld1q_u8(p); }
PENLIGHT_INLINE W low_nibbles(W w) { return vandq_u8(w, vdupq_n_u8(15)); }
PENLIGHT_INLINE W high_nibbles(W w) { return vshrq_n_u8(w, 4); }
PENLIGHT_INLINE W with_upper(W w, W u, int k) {
    const W moved = vshlq_u8(u, vdupq_n_s8(static_cast<int8_t>(4 - 2 * k)));
    return vorrq_u8(w, vandq_u8(moved, vdupq_n_u8(48)));
}
PENLIGHT_INLINE void wstore(uint8_t* p, W w) { vst1q_u8(p, w); }
PENLIGHT_INLINE uint16x8_t twice(I a) { return vreinterpretq_u16_s32(vsliq_n_s32(a, a, 16)); }
PENLIGHT_INLINE W wspread(W q, I scale, I offset) {
    const uint16x8_t s = twice(scale), o = twice(offset), pairs = vreinterpretq_u16_u8(q);
    uint16x8_t even = vmlaq_u16(o, vandq_u16(pairs, vdupq_n_u16(255)), s);
    uint16x8_t odd = vmlaq_u16(o, vshrq_n_u16(pairs, 8), s);
    return vtrn2q_u8(vreinterpretq_u8_u16(even), vreinterpretq_u8_u16(odd));
}
PENLIGHT_INLINE X xload(const int8_t* p) {
    int32_t four;
    memcpy(&four, p, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}
#if defined(PENLIGHT_TARGET_DOTPROD)
PENLIGHT_INLINE I dot_s8(I acc, int8x16_t w, X x) { return vdotq_s32(acc, w, x); }
#else
PENLIGHT_INLINE I dot_s8(I acc, int8x16_t w, X x) {
    int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(x)));     // rows 0 0 1 1
    int32x4_t high = vpaddlq_s16(vmull_s8(vget_high_s8(w), vget_high_s8(x)));  // rows 2 2 3 3
    return vaddq_s32(acc, vpaddq_s32(low, high));
}
#define PENLIGHT_TARGET_SHORT
struct S {
    int16x8_t low, high;  // of rows 0 0 0 0 1 1 1 1, 2 2 2 2 3 3 3 3
};
PENLIGHT_INLINE S szero() { return {vdupq_n_s16(0), vdupq_n_s16(0)}; }
PENLIGHT_INLINE S dot_u4(S acc, W w, X x) {
    const int8x16_t q = vreinterpretq_s8_u8(w);
    return {vmlal_s8(acc.low, vget_low_s8(q), vget_low_s8(x)), vmlal_high_s8(acc.high, q, x)};
}
PENLIGHT_INLINE I iadd_short(I acc, S s) {
    return vaddq_s32(acc, vpaddq_s32(vpaddlq_s16(s.low), vpaddlq_s16(s.high)));
}
#endif
PENLIGHT_INLINE I dot_u4(I acc, W w, X x) { return dot_s8(acc, vreinterpretq_s8_u8(w), x); }
#if defined(PENLIGHT_TARGET_I8MM)
PENLIGHT_INLINE I dot_u8(I acc, W w, X x) { return vusdotq_s32(acc, w, x); }
PENLIGHT_INLINE W wzip_low(W a, W b) {
    return vreinterpretq_u8_u32(vzip1q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
}
PENLIGHT_INLINE W wzip_high(W a, W b) {
    return vreinterpretq_u8_u32(vzip2q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
}
PENLIGHT_INLINE X xload_pair(const int8_t* a, const int8_t* b) {
    return vcombine_s8(vld1_s8(a), vld1_s8(b));
}
PENLIGHT_INLINE I dot_pair(I acc, W w, X x) { return vusmmlaq_s32(acc, w, x); }
PENLIGHT_INLINE I izip_low(I a, I b) { return vzip1q_s32(a, b); }
PENLIGHT_INLINE I izip_high(I a, I b) { return vzip2q_s32(a, b); }
PENLIGHT_INLINE I ieven(I a, I b) { return vuzp1q_s32(a, b); }
PENLIGHT_INLINE I iodd(I a, I b) { return vuzp2q_s32(a, b); }
#else
PENLIGHT_INLINE I dot_u8(I acc, W w, X x) {
    return dot_s8(acc, vreinterpretq_s8_u8(veorq_u8(w, vdupq_n_u8(128))), x);
}
#endif
