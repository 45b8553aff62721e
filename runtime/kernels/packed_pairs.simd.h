// Products of quants with an even number of columns of activations, where one instruction
// multiplies two rows by two columns of eight inputs: half as many as dot_group takes.

// acc[t][v] += products of one group of quants with T columns [T][Group] of activations
template <int Bits, int Group, int T, int Vectors>
PENLIGHT_INLINE void dot_pairs(const uint8_t* quants, const int8_t* x, I (*acc)[Vectors]) {
    I low[T / 2][Vectors], high[T / 2][Vectors];  // rows 0 and 1, 2 and 3 of a vector
#pragma GCC unroll 8
    for (int t = 0; t < T; t += 2)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) {
            low[t / 2][v] = izip_low(acc[t][v], acc[t + 1][v]);
            high[t / 2][v] = izip_high(acc[t][v], acc[t + 1][v]);
        }
#pragma GCC unroll 8
    for (int c = 0; c < Group / 8; c++) {
        X a[T / 2];
#pragma GCC unroll 8
        for (int t = 0; t < T; t += 2)
            a[t / 2] = xload_pair(x + t * Group + c * 8, x + (t + 1) * Group + c * 8);
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) {
            constexpr int run = packed_rows * 4;
            const uint8_t* at = quants + c * run * (Bits == 8 ? 2 : 1) + v * lanes * 4;
            W first, second;  // four inputs each
            if constexpr (Bits == 8) {
                first = wload(at), second = wload(at + run);
            } else {
                first = low_nibbles(wload(at)), second = high_nibbles(wload(at));
            }
            if constexpr (Bits == 6) {
                const W u = wload(quants + (Group / 8 + c / 2) * run + v * lanes * 4);
                first = with_upper(first, u, c % 2 * 2);
                second = with_upper(second, u, c % 2 * 2 + 1);
            }
            W w01 = wzip_low(first, second), w23 = wzip_high(first, second);
#pragma GCC unroll 8
            for (int t = 0; t < T / 2; t++) {
                low[t][v] = dot_pair(low[t][v], w01, a[t]);
                high[t][v] = dot_pair(high[t][v], w23, a[t]);
            }
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; t += 2)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) {
            acc[t][v] = ieven(low[t / 2][v], high[t / 2][v]);
            acc[t + 1][v] = iodd(low[t / 2][v], high[t / 2][v]);
        }
}
