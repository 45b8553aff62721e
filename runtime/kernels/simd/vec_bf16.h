// vec.h's pairs of bfloat16, for AVX512_BF16.
PENLIGHT_INLINE V vpairs(V a, V b) { return reinterpret_cast<V>(_mm512_cvtne2ps_pbh(b, a)); }
PENLIGHT_INLINE V vzip_pairs(V a, V b) {
    const __m512i order = _mm512_set_epi32(  // 0, 16, 1, 17, ...
        0x1f000f, 0x1e000e, 0x1d000d, 0x1c000c, 0x1b000b, 0x1a000a, 0x190009, 0x180008, 0x170007,
        0x160006, 0x150005, 0x140004, 0x130003, 0x120002, 0x110001, 0x100000);
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, _mm512_castps_si512(vpairs(a, b))));
}
PENLIGHT_INLINE V vfma_pairs(V a, V b, V c) {
    return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}
