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

constexpr int probe_tile = probe_rows * probe_tokens;

// sums += the products of `groups` times weights [rows * lanes][4] and activations [tokens][4]
template <class Sum>
PENLIGHT_INLINE void add_products(const uint8_t* w, const int8_t* x, int groups, Sum* sums) {
    for (int g = 0; g < groups; g++, w += probe_rows * lanes * 4, x += probe_tokens * 4)
        for (int r = 0; r < probe_rows; r++) {
            const W row = wload(w + r * lanes * 4);
            for (int t = 0; t < probe_tokens; t++) {
                Sum& sum = sums[r * probe_tokens + t];
                sum = dot_u4(sum, row, xload(x + 4 * t));
            }
        }
}

// `steps` times the products of probe_groups. How many multiply-adds that is, is in `*done`.
float multiply(const uint8_t* weights, const int8_t* activations, int64_t steps, int64_t* done) {
    V all = vzero();
    for (int64_t s = 0; s < steps; s++) {
        I sums[probe_tile];
        for (I& sum : sums) sum = iset(0);
#if defined(PENLIGHT_TARGET_SHORT)
        for (int g = 0; g < probe_groups; g += short_dots) {
            S part[probe_tile];
            for (S& sum : part) sum = szero();
            add_products(weights + g * probe_rows * lanes * 4, activations + g * probe_tokens * 4,
                         short_dots, part);
            for (int i = 0; i < probe_tile; i++) sums[i] = iadd_short(sums[i], part[i]);
        }
#else
        add_products(weights, activations, probe_groups, sums);
#endif
        for (const I& sum : sums) all = vadd(all, ifloat(sum));
    }
    *done = steps * probe_groups * probe_tile * lanes * 4;
    return vsum(all);
}

constexpr ProbeCore probe_core = {read_all, multiply};
