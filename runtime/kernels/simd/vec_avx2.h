// vec.h for AVX2 with FMA and F16C, and with AVX-VNNI where PENLIGHT_TARGET_AVXVNNI is defined.
[[maybe_unused]] constexpr int lanes = 8;
using V = __m256;
using I = __m256i;
using W = __m256i;
using X = __m256i;
using P = __m256i;
PENLIGHT_INLINE __m256i first(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
PENLIGHT_INLINE V vzero() { return _mm256_setzero_ps(); }
PENLIGHT_INLINE V vset(float x) { return _mm256_set1_ps(x); }
PENLIGHT_INLINE V vload(const float* p) { return _mm256_loadu_ps(p); }
PENLIGHT_INLINE void vstore(float* p, V v) { _mm256_storeu_ps(p, v); }
PENLIGHT_INLINE V vload_n(const float* p, int64_t n) { return _mm256_maskload_ps(p, first(n)); }
PENLIGHT_INLINE void vstore_n(float* p, V v, int64_t n) { _mm256_maskstore_ps(p, first(n), v); }
PENLIGHT_INLINE V vadd(V a, V b) { return _mm256_add_ps(a, b); }
PENLIGHT_INLINE V vsub(V a, V b) { return _mm256_sub_ps(a, b); }
PENLIGHT_INLINE V vmul(V a, V b) { return _mm256_mul_ps(a, b); }
PENLIGHT_INLINE V vdiv(V a, V b) { return _mm256_div_ps(a, b); }
PENLIGHT_INLINE V vfma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
PENLIGHT_INLINE V vmax(V a, V b) { return _mm256_max_ps(a, b); }
PENLIGHT_INLINE V vmin(V a, V b) { return _mm256_min_ps(a, b); }
PENLIGHT_INLINE V vabs(V a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
PENLIGHT_INLINE V vround(V a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
PENLIGHT_INLINE float vsum(V a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
PENLIGHT_INLINE float vmax_of(V a) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
[[maybe_unused]] constexpr int folds = 4;
template <V (*Op)(V, V)> PENLIGHT_INLINE V vfold(const V (&a)[folds]) {
    V ab = Op(_mm256_unpacklo_ps(a[0], a[1]), _mm256_unpackhi_ps(a[0], a[1]));
    V cd = Op(_mm256_unpacklo_ps(a[2], a[3]), _mm256_unpackhi_ps(a[2], a[3]));
    V s = Op(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    return Op(s, _mm256_permute2f128_ps(s, s, 0x01));
}
PENLIGHT_INLINE void vtranspose(V* v) {
    V t[8];
    for (int i = 0; i < 8; i += 4) {
        V a = _mm256_unpacklo_ps(v[i], v[i + 1]), b = _mm256_unpackhi_ps(v[i], v[i + 1]);
        V c = _mm256_unpacklo_ps(v[i + 2], v[i + 3]), d = _mm256_unpackhi_ps(v[i + 2], v[i + 3]);
        t[i] = _mm256_shuffle_ps(a, c, 0x44), t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm256_shuffle_ps(b, d, 0x44), t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        v[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}
[[maybe_unused]] constexpr int quad = 4;
PENLIGHT_INLINE V vquad(const V* v) {
    return _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
}
PENLIGHT_INLINE V vsums(const V* v) {
    return _mm256_add_ps(_mm256_permute2f128_ps(v[0], v[1], 0x20),
                         _mm256_permute2f128_ps(v[0], v[1], 0x31));
}
PENLIGHT_INLINE V vpow2(V n) {
    __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}
PENLIGHT_INLINE V vexponent(V a) {
    __m256i e = _mm256_srli_epi32(_mm256_castps_si256(a), 23);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(e, _mm256_set1_epi32(127)));
}
PENLIGHT_INLINE V vscale_by(V n) { return vpow2(n); }
PENLIGHT_INLINE V vscale(V a, V s) { return vmul(a, s); }
PENLIGHT_INLINE V vload_half(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
PENLIGHT_INLINE void vstore_half(uint16_t* p, V v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
PENLIGHT_INLINE V vload_bfloat16(const uint16_t* p) {
    __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
PENLIGHT_INLINE I iload_uint8(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
PENLIGHT_INLINE I iload_int8(const int8_t* p) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
PENLIGHT_INLINE V vload_int8(const int8_t* p) { return _mm256_cvtepi32_ps(iload_int8(p)); }
PENLIGHT_INLINE void vstore_int8(int8_t* p, V v) {
    __m256i i = _mm256_cvtps_epi32(v);
    __m128i w = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(w, w));
}

PENLIGHT_INLINE I iround(V v) { return _mm256_cvtps_epi32(v); }
PENLIGHT_INLINE void istore(int32_t* p, I a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a);
}
PENLIGHT_INLINE I iset(int32_t x) { return _mm256_set1_epi32(x); }
PENLIGHT_INLINE I ijoin(I high, I low) { return _mm256_add_epi32(_mm256_slli_epi32(high, 7), low); }
PENLIGHT_INLINE I iload_shift(const int32_t* p) {
    __m256i n = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm256_and_si256(n, _mm256_set1_epi32(7));
}
PENLIGHT_INLINE I ishift(I a, I n) { return _mm256_sllv_epi32(a, n); }
PENLIGHT_INLINE P pjoin(I a, I b) { return _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa); }
PENLIGHT_INLINE P pset(int32_t pair) { return _mm256_set1_epi32(pair); }
PENLIGHT_INLINE I pdot(I acc, P a, P b) { return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)); }
PENLIGHT_INLINE V ifloat(I a) { return _mm256_cvtepi32_ps(a); }
PENLIGHT_INLINE W wload(const uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
PENLIGHT_INLINE W low_nibbles(W w) { return _mm256_and_si256(w, _mm256_set1_epi8(15)); }
PENLIGHT_INLINE W high_nibbles(W w) { return low_nibbles(_mm256_srli_epi32(w, 4)); }
PENLIGHT_INLINE W with_upper(W w, W u, int k) {
    const W moved = k < 2 ? _mm256_slli_epi32(u, 4 - 2 * k) : _mm256_srli_epi32(u, 2 * k - 4);
    return _mm256_or_si256(w, _mm256_and_si256(moved, _mm256_set1_epi8(48)));
}
PENLIGHT_INLINE void wstore(uint8_t* p, W w) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), w);
}
PENLIGHT_INLINE W wspread(W q, I scale, I offset) {
    const __m256i s = pjoin(scale, scale), o = pjoin(offset, offset);
    W even = _mm256_and_si256(q, _mm256_set1_epi16(255)), odd = _mm256_srli_epi16(q, 8);
    even = _mm256_add_epi16(_mm256_mullo_epi16(even, s), o);
    odd = _mm256_add_epi16(_mm256_mullo_epi16(odd, s), o);
    return _mm256_blendv_epi8(_mm256_srli_epi16(even, 8), odd, _mm256_set1_epi16(-256));
}
PENLIGHT_INLINE X xload(const int8_t* p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}
#if defined(PENLIGHT_TARGET_AVXVNNI)
[[maybe_unused]] constexpr bool dot_u8_centred = false;
PENLIGHT_INLINE I dot_u8(I acc, W w, X x) { return _mm256_dpbusd_avx_epi32(acc, w, x); }
PENLIGHT_INLINE I dot_u4(I acc, W w, X x) { return _mm256_dpbusd_avx_epi32(acc, w, x); }
#else
// GCC would add vectors up in an order of its own, for which it takes more registers than there
// are.
PENLIGHT_INLINE __m256i in_order(__m256i a) {
    __asm__("" : "+x"(a));
    return a;
}
// VPMADDUBSW saturates its pair sums at 16 bits: 2 * 63 * 128 is far below, and the pair sums of
// |w - 128| <= 128 with x in -127..127 reach at most 32512.
[[maybe_unused]] constexpr bool dot_u8_centred = true;
PENLIGHT_INLINE I dot_pairs_added(I acc, __m256i pairs) {
    return in_order(_mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
}
PENLIGHT_INLINE I dot_u4(I acc, W w, X x) {
    return dot_pairs_added(acc, _mm256_maddubs_epi16(w, x));
}
PENLIGHT_INLINE I dot_u8(I acc, W w, X x) {
    __m256i centred = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
    return dot_u4(acc, _mm256_abs_epi8(centred), _mm256_sign_epi8(x, centred));
}
#define PENLIGHT_TARGET_SHORT
struct S {
    __m256i pairs;
};
PENLIGHT_INLINE S szero() { return {_mm256_setzero_si256()}; }
PENLIGHT_INLINE S dot_u4(S acc, W w, X x) {
    return {in_order(_mm256_add_epi16(acc.pairs, _mm256_maddubs_epi16(w, x)))};
}
PENLIGHT_INLINE I iadd_short(I acc, S s) { return dot_pairs_added(acc, s.pairs); }
#endif
