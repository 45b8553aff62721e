// Rotary position embedding of the heads of one token.

// sin and cos for |x| up to about 1e5: x = n pi / 2 + r with |r| <= pi / 4, by parts of pi / 2
// whose products with n are exact, then the polynomials of Cephes' sinf and cosf.
#if defined(PENLIGHT_TARGET_SCALAR)
void sine_cosine(V x, V& sine, V& cosine) {
    sine = std::sin(x);
    cosine = std::cos(x);
}
#else
PENLIGHT_INLINE void sine_cosine(V x, V& sine, V& cosine) {
    const V one = vset(1.0f), quarter = vset(-0.25f), half = vset(0.5f);
    V n = vround(vmul(x, vset(0.636619772f)));
    V r = vfma(n, vset(-1.5703125f), x);
    r = vfma(n, vset(-4.837512969970703125e-4f), r);
    r = vfma(n, vset(-7.549789948768648e-8f), r);
    V z = vmul(r, r);
    V s =
        vfma(vfma(vset(-1.9515295891e-4f), z, vset(8.3321608736e-3f)), z, vset(-1.6666654611e-1f));
    s = vfma(vmul(s, z), r, r);
    V c = vfma(vfma(vset(2.443315711809948e-5f), z, vset(-1.388731625493765e-3f)), z,
               vset(4.166664568298827e-2f));
    c = vfma(vmul(c, z), z, vfma(z, vset(-0.5f), one));
    // n = 2 h + odd, h = 2 k + flip; odd swaps sine and cosine, flip negates.
    V h = vround(vfma(n, half, quarter));
    V odd = vfma(h, vset(-2.0f), n);
    V flip = vfma(vround(vfma(h, half, quarter)), vset(-2.0f), h);
    V sign = vfma(flip, vset(-2.0f), one), even = vsub(one, odd);
    sine = vmul(sign, vfma(even, s, vmul(odd, c)));
    cosine = vmul(sign, vsub(vmul(even, c), vmul(odd, s)));
}
#endif

// x, y: [heads][dim]; turns[2][half] is scratch for the token's cosines and sines
void rope_token(const float* x, int64_t heads, int64_t dim, float position, const float* inv_freq,
                int64_t half, float scaling, float* turns, float* y) {
    float* cosines = turns;
    float* sines = turns + half;
    for (int64_t i = 0; i < half; i += lanes) {
        const int64_t n = half - i;
        V sine, cosine;
        V f = n >= lanes ? vload(inv_freq + i) : vload_n(inv_freq + i, n);
        sine_cosine(vmul(f, vset(position)), sine, cosine);
        sine = vmul(sine, vset(scaling));
        cosine = vmul(cosine, vset(scaling));
        if (n >= lanes) {
            vstore(cosines + i, cosine);
            vstore(sines + i, sine);
        } else {
            vstore_n(cosines + i, cosine, n);
            vstore_n(sines + i, sine, n);
        }
    }
    for (int64_t h = 0; h < heads; h++, x += dim, y += dim) {
        int64_t i = 0;
        for (; i + lanes <= half; i += lanes) {
            V a = vload(x + i), b = vload(x + half + i);
            V c = vload(cosines + i), s = vload(sines + i);
            vstore(y + i, vsub(vmul(a, c), vmul(b, s)));
            vstore(y + half + i, vfma(b, c, vmul(a, s)));
        }
        for (; i < half; i++) {
            float a = x[i], b = x[half + i];
            y[i] = a * cosines[i] - b * sines[i];
            y[half + i] = b * cosines[i] + a * sines[i];
        }
        for (i = 2 * half; i < dim; i++) y[i] = x[i];
    }
}
