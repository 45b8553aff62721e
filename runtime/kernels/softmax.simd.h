// Rows of softmax, x and y [n] floats; see for_each_target.h.

PENLIGHT_INLINE float row_max(const float* x, int64_t n, float most) {
    V greatest = vset(most);
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) greatest = vmax(greatest, vload(x + i));
    most = vmax_of(greatest);
    for (; i < n; i++) most = x[i] > most ? x[i] : most;
    return most;
}

// e^x for x <= 0, and 0 below the least e^x that is a normal number.
PENLIGHT_INLINE V exp_below(V x) { return vmax(vsub(vexp(x), vset(1.3e-38f)), vzero()); }

// y = e^(x - m); returns the sum of y.
float softmax_exp_sum(const float* x, int64_t n, float m, float* y) {
    V sum = vzero();
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        const V e = exp_below(vsub(vload(x + i), vset(m)));
        vstore(y + i, e);
        sum = vadd(sum, e);
    }
    float total = vsum(sum);
    for (; i < n; i++) total += y[i] = std::exp(x[i] - m);
    return total;
}

float softmax_max(const float* x, int64_t n, float most) { return row_max(x, n, most); }

// y[i] = x[i] * scale
void softmax_scale(const float* x, int64_t n, float scale, float* y) {
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) vstore(y + i, vmul(vload(x + i), vset(scale)));
    for (; i < n; i++) y[i] = x[i] * scale;
}

// m[i] = max(m[i], x[i])
void softmax_max_across(const float* x, int64_t n, float* m) {
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) vstore(m + i, vmax(vload(m + i), vload(x + i)));
    for (; i < n; i++) m[i] = x[i] > m[i] ? x[i] : m[i];
}

// y[i] = e^(x[i] - m[i]), sum[i] += y[i]
void softmax_exp_across(const float* x, int64_t n, const float* m, float* y, float* sum) {
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        const V e = exp_below(vsub(vload(x + i), vload(m + i)));
        vstore(y + i, e);
        vstore(sum + i, vadd(vload(sum + i), e));
    }
    for (; i < n; i++) sum[i] += y[i] = std::exp(x[i] - m[i]);
}
