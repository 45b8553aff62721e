// Blocks of functions built on e^x, in float; see for_each_target.h. Written without branches, one
// element at a time, for the compiler to vectorise. Errors are below 3 units in the last place.

// x = n ln 2 + r with |r| <= ln 2 / 2, then the Taylor series of e^r. Adding and taking away
// 1.5 * 2^23 rounds to an integer, which the low bits of the sum hold.
PENLIGHT_INLINE float exponential(float x) {
    x = x < -104.0f ? -104.0f : x;  // e^-104 is 0, e^89 infinite; NaN stays
    x = (x > 89.0f) ? 89.0f : x;
    const float shifted = x * 1.44269504f + 12582912.0f;
    const uint32_t n = std::bit_cast<uint32_t>(shifted) - 0x4b400000u;
    const float whole = shifted - 12582912.0f;
    float r = x - whole * 0.693359375f;  // ln 2 in two parts, the first exact in 9 bits
    r = r + whole * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    // 2^n in two factors, each of which is a normal number.
    const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(n) >> 1);
    return p * std::bit_cast<float>((half + 127) << 23) *
           std::bit_cast<float>((n - half + 127) << 23);
}

PENLIGHT_INLINE float logistic(float x) { return 1 / (1 + exponential(-x)); }

// Near 0 an odd polynomial (that of Cephes, S. Moshier), else by e^(2|x|).
PENLIGHT_INLINE float hyperbolic_tangent(float x) {
    const float a = std::fabs(x), z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    const float near = x + x * z * p;
    const float far = std::copysign(1 - 2 / (exponential(2 * a) + 1), x);
    return a < 0.625f ? near : far;
}

// Chebyshev fits: erf(x) / x in x^2 on [0, 1], and log(1 - erf(x)) on [1, 4], beyond which erf
// rounds to 1.
PENLIGHT_INLINE float error_function(float x) {
    float a = std::fabs(x);
    const float z = x * x;
    float p = 7.882497112e-5f;
    p = p * z - 8.018854993e-4f;
    p = p * z + 5.189311943e-3f;
    p = p * z - 2.685432880e-2f;
    p = p * z + 1.128359746e-1f;
    p = p * z - 3.761262690e-1f;
    p = p * z + 1.128379166f;
    const float near = x * p;
    a = (a > 4.0f) ? 4.0f : a;
    float q = 1.614061597e-6f;
    q = q * a - 4.559062231e-5f;
    q = q * a + 5.927695367e-4f;
    q = q * a - 4.740222336e-3f;
    q = q * a + 2.636471735e-2f;
    q = q * a - 1.099782451e-1f;
    q = q * a - 6.319370937e-1f;
    q = q * a - 1.130166675f;
    q = q * a + 3.032129653e-4f;
    const float far = std::copysign(1 - exponential(q), x);
    return a < 1.0f ? near : far;
}

PENLIGHT_INLINE float gelu_exact(float x) {
    return 0.5f * x * (1 + error_function(x * 0.70710678f));
}
// 0.5 (1 + tanh(u)) = 1 / (1 + e^-2u)
PENLIGHT_INLINE float gelu_by_tanh(float x) {
    return x * logistic(1.5957691216f * (x + 0.044715f * x * x * x));
}
PENLIGHT_INLINE float silu_of(float x) { return x / (1 + exponential(-x)); }

#define PENLIGHT_FLOAT_BLOCK(NAME, FUNCTION)                         \
    void NAME(const kernels::Block& b) {                             \
        const float* x = static_cast<const float*>(b.in[0]);         \
        float* y = static_cast<float*>(b.out);                       \
        PENLIGHT_INDEPENDENT                                         \
        for (int64_t i = 0; i < b.count; i++) y[i] = FUNCTION(x[i]); \
    }
PENLIGHT_FLOAT_BLOCK(exp_block, exponential)
PENLIGHT_FLOAT_BLOCK(sigmoid_block, logistic)
PENLIGHT_FLOAT_BLOCK(tanh_block, hyperbolic_tangent)
PENLIGHT_FLOAT_BLOCK(erf_block, error_function)
PENLIGHT_FLOAT_BLOCK(gelu_none_block, gelu_exact)
PENLIGHT_FLOAT_BLOCK(gelu_tanh_block, gelu_by_tanh)
PENLIGHT_FLOAT_BLOCK(silu_block, silu_of)
#undef PENLIGHT_FLOAT_BLOCK
