// vec.h for AVX-512 with VNNI.
[[maybe_unused]] constexpr int lanes = 16;
[[maybe_unused]] constexpr bool dot_u8_centred = false;
using V = __m512;
using I = __m512i;
using W = __m512i;
using X = __m512i;
using P = __m512i;
PENLIGHT_INLINE __mmask16 first(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
PENLIGHT_INLINE V vzero() { return _mm512_setzero_ps(); }
PENLIGHT_INLINE V vset(float x) { return _mm512_set1_ps(x); }
PENLIGHT_INLINE V vload(const float* p) { return _mm512_loadu_ps(p); }
PENLIGHT_INLINE void vstore(float* p, V v) { _mm512_storeu_ps(p, v); }
PENLIGHT_INLINE V vload_n(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
PENLIGHT_INLINE void vstore_n(float* p, V v, int64_t n) { _mm512_mask_storeu_ps(p, first(n), v); }
PENLIGHT_INLINE V vadd(V a, V b) { return _mm512_add_ps(a, b); }
PENLIGHT_INLINE V vsub(V a, V b) { return _mm512_sub_ps(a, b); }
PENLIGHT_INLINE V vmul(V a, V b) { return _mm512_mul_ps(a, b); }
PENLIGHT_INLINE V vdiv(V a, V b) { return _mm512_div_ps(a, b); }
PENLIGHT_INLINE V vfma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
PENLIGHT_INLINE V vmax(V a, V b) { return _mm512_max_ps(a, b); }
PENLIGHT_INLINE V vmin(V a, V b) { return _mm512_min_ps(a, b); }
PENLIGHT_INLINE V vabs(V a) { return _mm512_abs_ps(a); }
PENLIGHT_INLINE V vround(V a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
PENLIGHT_INLINE float vsum(V a) { return _mm512_reduce_add_ps(a); }
PENLIGHT_INLINE float vmax_of(V a) { return _mm512_reduce_max_ps(a); }
[[maybe_unused]] constexpr int folds = 4;
template <V (*Op)(V, V)> PENLIGHT_INLINE V vfold(const V (&a)[folds]) {
    V ab = Op(_mm512_unpacklo_ps(a[0], a[1]), _mm512_unpackhi_ps(a[0], a[1]));
    V cd = Op(_mm512_unpacklo_ps(a[2], a[3]), _mm512_unpackhi_ps(a[2], a[3]));
    V s = Op(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    s = Op(s, _mm512_shuffle_f32x4(s, s, 0x4e));
    return Op(s, _mm512_shuffle_f32x4(s, s, 0xb1));
}
PENLIGHT_INLINE void vtranspose(V* v) {
    V t[16];
    for (int i = 0; i < 16; i += 4) {  // of each 128 bits, rows i to i + 3
        V a = _mm512_unpacklo_ps(v[i], v[i + 1]), b = _mm512_unpackhi_ps(v[i], v[i + 1]);
        V c = _mm512_unpacklo_ps(v[i + 2], v[i + 3]), d = _mm512_unpackhi_ps(v[i + 2], v[i + 3]);
        t[i] = _mm512_shuffle_ps(a, c, 0x44), t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm512_shuffle_ps(b, d, 0x44), t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
    for (int i = 0; i < 4; i++) {  // 128 bits each, as a matrix of four by four
        V a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x44);
        V b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xee);
        V c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x44);
        V d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xee);
        v[i] = _mm512_shuffle_f32x4(a, c, 0x88), v[i + 4] = _mm512_shuffle_f32x4(a, c, 0xdd);
        v[i + 8] = _mm512_shuffle_f32x4(b, d, 0x88), v[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}
[[maybe_unused]] constexpr int quad = 4;
PENLIGHT_INLINE V vquad(const V* v) {
    V ab = _mm512_add_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
    V cd = _mm512_add_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
    return _mm512_add_ps(_mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0)),
                         _mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2)));
}
PENLIGHT_INLINE V halves_added(V a, V b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}
PENLIGHT_INLINE V vsums(const V* v) {
    return halves_added(halves_added(v[0], v[1]), halves_added(v[2], v[3]));
}
PENLIGHT_INLINE V vpow2(V n) {
    __m512i e = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(e, 23));
}
PENLIGHT_INLINE V vexponent(V a) { return _mm512_getexp_ps(a); }
PENLIGHT_INLINE V vscale_by(V n) { return n; }
PENLIGHT_INLINE V vscale(V a, V n) { return _mm512_scalef_ps(a, n); }
PENLIGHT_INLINE V vload_half(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
PENLIGHT_INLINE void vstore_half(uint16_t* p, V v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
PENLIGHT_INLINE V vload_bfloat16(const uint16_t* p) {
    __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
PENLIGHT_INLINE I iload_uint8(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
PENLIGHT_INLINE I iload_int8(const int8_t* p) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
PENLIGHT_INLINE V vload_int8(const int8_t* p) { return _mm512_cvtepi32_ps(iload_int8(p)); }
PENLIGHT_INLINE void vstore_int8(int8_t* p, V v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
}

PENLIGHT_INLINE I iround(V v) { return _mm512_cvtps_epi32(v); }
PENLIGHT_INLINE void istore(int32_t* p, I a) { _mm512_storeu_si512(p, a); }
PENLIGHT_INLINE I iset(int32_t x) { return _mm512_set1_epi32(x); }
PENLIGHT_INLINE I ijoin(I high, I low) { return _mm512_add_epi32(_mm512_slli_epi32(high, 7), low); }
PENLIGHT_INLINE I iload_shift(const int32_t* p) {
    return _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(7));
}
PENLIGHT_INLINE I ishift(I a, I n) { return _mm512_sllv_epi32(a, n); }
PENLIGHT_INLINE P pjoin(I a, I b) {
    return _mm512_mask_blend_epi16(0xaaaaaaaa, a, _mm512_slli_epi32(b, 16));
}
PENLIGHT_INLINE P pset(int32_t pair) { return _mm512_set1_epi32(pair); }
PENLIGHT_INLINE I pdot(I acc, P a, P b) { return _mm512_dpwssd_epi32(acc, a, b); }
PENLIGHT_INLINE V ifloat(I a) { return _mm512_cvtepi32_ps(a); }
PENLIGHT_INLINE W wload(const uint8_t* p) { return _mm512_loadu_si512(p); }
PENLIGHT_INLINE W low_nibbles(W w) { return _mm512_and_si512(w, _mm512_set1_epi8(15)); }
PENLIGHT_INLINE W high_nibbles(W w) { return low_nibbles(_mm512_srli_epi32(w, 4)); }
PENLIGHT_INLINE W with_upper(W w, W u, int k) {
    const W moved = k < 2 ? _mm512_slli_epi32(u, 4 - 2 * k) : _mm512_srli_epi32(u, 2 * k - 4);
    return _mm512_ternarylogic_epi32(w, moved, _mm512_set1_epi8(48), 0xf8);  // w | (moved & 48)
}
PENLIGHT_INLINE void wstore(uint8_t* p, W w) { _mm512_storeu_si512(p, w); }
PENLIGHT_INLINE W wspread(W q, I scale, I offset) {
    const __m512i s = pjoin(scale, scale), o = pjoin(offset, offset);
    W even = _mm512_and_si512(q, _mm512_set1_epi16(255)), odd = _mm512_srli_epi16(q, 8);
    even = _mm512_add_epi16(_mm512_mullo_epi16(even, s), o);
    odd = _mm512_add_epi16(_mm512_mullo_epi16(odd, s), o);
    return _mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaa, _mm512_srli_epi16(even, 8), odd);
}
PENLIGHT_INLINE X xload(const int8_t* p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
}
PENLIGHT_INLINE I dot_u8(I acc, W w, X x) { return _mm512_dpbusd_epi32(acc, w, x); }
PENLIGHT_INLINE I dot_u4(I acc, W w, X x) { return _mm512_dpbusd_epi32(acc, w, x); }
