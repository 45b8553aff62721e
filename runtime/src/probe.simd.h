// What one core can read, and what it can multiply.

// The sum of floats [count], count a multiple of 8 * lanes.
float read_all(const float* from, int64_t count) {
    V sums[8];
    for (V& sum : sums) sum = vzero();
    for (int64_t i = 0; i < count; i += 8 * lanes)
        for (int j = 0; j < 8; j++) sums[j] = vadd(sums[j], vload(from + i + j * lanes));
    V all = vzero();
    for (V sum : sums) all = vadd(all, sum);
    return vsum(all);
}

// As many rows and tokens at once as registers hold, the way matrix products do it.
#if defined(PENLIGHT_TARGET_AVX512)
constexpr int probe_rows = 3, probe_tokens = 4;
#elif defined(PENLIGHT_TARGET_SCALAR)
constexpr int probe_rows = 1, probe_tokens = 1;
#else
constexpr int probe_rows = 2, probe_tokens = 4;
#endif

// `steps` times the products of probe_groups times weights [rows * lanes][4] and activations
// [tokens][4]. How many multiply-adds that is, is in `*done`.
float multiply(const uint8_t* weights, const int8_t* activations, int64_t steps, int64_t* done) {
    V all = vzero();
    for (int64_t s = 0; s < steps; s++) {
        I sums[probe_rows * probe_tokens];
        for (int i = 0; i < probe_rows * probe_tokens; i++) sums[i] = iset(0);
        for (int g = 0; g < probe_groups; g++) {
            const uint8_t* w = weights + g * probe_rows * lanes * 4;
            const int8_t* x = activations + g * probe_tokens * 4;
            for (int r = 0; r < probe_rows; r++) {
                const W row = wload(w + r * lanes * 4);
                for (int t = 0; t < probe_tokens; t++) {
                    I& sum = sums[r * probe_tokens + t];
                    sum = dot_u4(sum, row, xload(x + 4 * t));
                }
            }
        }
        for (int i = 0; i < probe_rows * probe_tokens; i++) all = vadd(all, ifloat(sums[i]));
    }
    *done = steps * probe_groups * probe_rows * probe_tokens * lanes * 4;
    return vsum(all);
}

constexpr ProbeCore probe_core = {read_all, multiply};
