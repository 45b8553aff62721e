// vec.h in plain C++: the reference.
[[maybe_unused]] constexpr int lanes = 1;
[[maybe_unused]] constexpr bool dot_u8_centred = false;
using V = float;
using I = int32_t;
struct W {
    uint8_t byte[4];
};
struct X {
    int8_t byte[4];
};
struct P {
    int32_t first, second;
};
PENLIGHT_INLINE V vzero() { return 0; }
PENLIGHT_INLINE V vset(float x) { return x; }
PENLIGHT_INLINE V vload(const float* p) { return *p; }
PENLIGHT_INLINE void vstore(float* p, V v) { *p = v; }
PENLIGHT_INLINE V vload_n(const float*, int64_t) { return 0; }
PENLIGHT_INLINE void vstore_n(float*, V, int64_t) {}
PENLIGHT_INLINE V vadd(V a, V b) { return a + b; }
PENLIGHT_INLINE V vsub(V a, V b) { return a - b; }
PENLIGHT_INLINE V vmul(V a, V b) { return a * b; }
PENLIGHT_INLINE V vdiv(V a, V b) { return a / b; }
PENLIGHT_INLINE V vfma(V a, V b, V c) { return a * b + c; }
PENLIGHT_INLINE V vmax(V a, V b) { return a > b ? a : b; }
PENLIGHT_INLINE V vmin(V a, V b) { return a < b ? a : b; }
PENLIGHT_INLINE V vabs(V a) { return std::fabs(a); }
PENLIGHT_INLINE V vround(V a) { return std::nearbyint(a); }
PENLIGHT_INLINE float vsum(V a) { return a; }
PENLIGHT_INLINE float vmax_of(V a) { return a; }
[[maybe_unused]] constexpr int folds = 1;
template <V (*)(V, V)> PENLIGHT_INLINE V vfold(const V (&a)[folds]) { return a[0]; }
PENLIGHT_INLINE void vtranspose(V*) {}
[[maybe_unused]] constexpr int quad = 1;
PENLIGHT_INLINE V vquad(const V* v) { return v[0]; }
PENLIGHT_INLINE V vsums(const V* v) { return v[0]; }
PENLIGHT_INLINE V vpow2(V n) { return std::ldexp(1.0f, static_cast<int>(n)); }
PENLIGHT_INLINE V vexponent(V a) { return std::logb(a); }
PENLIGHT_INLINE V vscale_by(V n) { return vpow2(n); }
PENLIGHT_INLINE V vscale(V a, V s) { return vmul(a, s); }
PENLIGHT_INLINE V vload_half(const uint16_t* p) { return kernels::half_to_float(*p); }
PENLIGHT_INLINE void vstore_half(uint16_t* p, V v) { *p = kernels::float_to_half(v); }
PENLIGHT_INLINE V vload_bfloat16(const uint16_t* p) { return kernels::bfloat16_to_float(*p); }
PENLIGHT_INLINE I iload_uint8(const uint8_t* p) { return *p; }
PENLIGHT_INLINE I iload_int8(const int8_t* p) { return *p; }
PENLIGHT_INLINE V vload_int8(const int8_t* p) { return *p; }
// p[i] = v[i] for integral v in [-128, 127]
PENLIGHT_INLINE void vstore_int8(int8_t* p, V v) { *p = static_cast<int8_t>(v); }

PENLIGHT_INLINE I iround(V v) {
    return std::fabs(v) < 0x1p31f ? static_cast<I>(std::nearbyint(v)) : INT32_MIN;
}
PENLIGHT_INLINE void istore(int32_t* p, I a) { *p = a; }
PENLIGHT_INLINE I iset(int32_t x) { return x; }
PENLIGHT_INLINE I ijoin(I high, I low) { return high * 128 + low; }
PENLIGHT_INLINE I iload_shift(const int32_t* p) { return *p & 7; }
PENLIGHT_INLINE I ishift(I a, I n) { return a * (1 << n); }
PENLIGHT_INLINE P pjoin(I a, I b) { return {a, b}; }
PENLIGHT_INLINE P pset(int32_t pair) { return {static_cast<int16_t>(pair), pair >> 16}; }
PENLIGHT_INLINE I pdot(I acc, P a, P b) { return acc + a.first * b.first + a.second * b.second; }
PENLIGHT_INLINE V ifloat(I a) { return static_cast<float>(a); }
PENLIGHT_INLINE W wload(const uint8_t* p) { return {{p[0], p[1], p[2], p[3]}}; }
PENLIGHT_INLINE W low_nibbles(W w) {
    for (uint8_t& b : w.byte) b &= 15;
    return w;
}
PENLIGHT_INLINE W high_nibbles(W w) {
    for (uint8_t& b : w.byte) b >>= 4;
    return w;
}
PENLIGHT_INLINE W with_upper(W w, W u, int k) {
    for (int j = 0; j < 4; j++) w.byte[j] |= static_cast<uint8_t>((u.byte[j] >> 2 * k & 3) << 4);
    return w;
}
PENLIGHT_INLINE void wstore(uint8_t* p, W w) { memcpy(p, w.byte, 4); }
PENLIGHT_INLINE W wspread(W q, I scale, I offset) {
    for (uint8_t& b : q.byte) b = static_cast<uint8_t>((b * scale + offset) >> 8);
    return q;
}
PENLIGHT_INLINE X xload(const int8_t* p) { return {{p[0], p[1], p[2], p[3]}}; }
PENLIGHT_INLINE I dot_u8(I acc, W w, X x) {
    for (int j = 0; j < 4; j++) acc += w.byte[j] * x.byte[j];
    return acc;
}
PENLIGHT_INLINE I dot_u4(I acc, W w, X x) { return dot_u8(acc, w, x); }
