// Dot products of one group of quants with some columns of activations, as whole numbers.

// sums[t][v] += products of four quants, one byte each, of all vectors with T columns
template <int Group, int T, int Vectors>
PENLIGHT_INLINE void add_quads(const W (&w)[Vectors], const int8_t* x, I (*sums)[Vectors]) {
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
        X a = xload(x + t * Group);
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; v++) sums[t][v] = dot_u4(sums[t][v], w[v], a);
    }
}

// sums[t][v] += products of one group of quants of 6 bits with T columns [T][Group] of activations
template <int Group, int T, int Vectors>
PENLIGHT_INLINE void add_six_bits(const uint8_t* quants, const int8_t* x, I (*sums)[Vectors]) {
    constexpr int run = packed_rows * 4;
#pragma GCC unroll 2
    for (int h = 0; h < Group / 16; h++) {
        const uint8_t *lower = quants + 2 * h * run, *upper = quants + (Group / 8 + h) * run;
        W u[Vectors];
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; v++) u[v] = wload(upper + v * lanes * 4);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            W w[Vectors];
#pragma GCC unroll 8
            for (int v = 0; v < Vectors; v++) {
                const W two = wload(lower + k / 2 * run + v * lanes * 4);
                w[v] = with_upper(k % 2 ? high_nibbles(two) : low_nibbles(two), u[v], k);
            }
            add_quads<Group, T>(w, x + 16 * h + 4 * k, sums);
        }
    }
}

// The same for 4 and 8 bits.
template <int Bits, int Group, int T, bool Follow, class Sum, int Vectors>
PENLIGHT_INLINE void add_dots(const uint8_t* quants, const int8_t* x, Sum (*sums)[Vectors]) {
#pragma GCC unroll 8
    for (int c = 0; c < Group * Bits / 32; c++) {
        W w[Vectors];
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; v++) {
            const uint8_t* at = quants + c * packed_rows * 4 + v * lanes * 4;
            w[v] = wload(at);
            if constexpr (Follow) __builtin_prefetch(at + packed_follow, 0, 2);
        }
        if constexpr (Bits == 4) {
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) {
                X a = xload(x + t * Group + c * 8);
#pragma GCC unroll 8
                for (int v = 0; v < Vectors; v++)
                    sums[t][v] = dot_u4(sums[t][v], low_nibbles(w[v]), a);
            }
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) {
                X a = xload(x + t * Group + c * 8 + 4);
#pragma GCC unroll 8
                for (int v = 0; v < Vectors; v++)
                    sums[t][v] = dot_u4(sums[t][v], high_nibbles(w[v]), a);
            }
        } else {
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) {
                X a = xload(x + t * Group + c * 4);
#pragma GCC unroll 8
                for (int v = 0; v < Vectors; v++) sums[t][v] = dot_u8(sums[t][v], w[v], a);
            }
        }
    }
}

// The same for int32 sums, by way of 16 bits where that takes less.
template <int Bits, int Group, int T, bool Follow, int Vectors>
PENLIGHT_INLINE void dot_group(const uint8_t* quants, const int8_t* x, I (*acc)[Vectors]) {
#if defined(PENLIGHT_TARGET_SHORT)
    if constexpr (Bits == 4) {
        constexpr int most = T > 2 ? 2 : T == 2 ? 4 : 8;  // what registers hold
        constexpr int step = most < Vectors ? most : Vectors;
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; v += step) {
            S sums[T][step];
#pragma GCC unroll 8
            for (int t = 0; t < T; t++)
#pragma GCC unroll 8
                for (int i = 0; i < step; i++) sums[t][i] = szero();
            add_dots<Bits, Group, T, Follow>(quants + v * lanes * 4, x, sums);
#pragma GCC unroll 8
            for (int t = 0; t < T; t++)
#pragma GCC unroll 8
                for (int i = 0; i < step; i++)
                    acc[t][v + i] = iadd_short(acc[t][v + i], sums[t][i]);
        }
        return;
    }
#endif
    if constexpr (Bits == 6)
        add_six_bits<Group, T>(quants, x, acc);
    else
        add_dots<Bits, Group, T, Follow>(quants, x, acc);
}

#if defined(PENLIGHT_TARGET_I8MM)
#include "packed_pairs.simd.h"
#endif

// The same; Single: of one token, which may ask for what follows.
template <int Bits, int Group, int T, bool Single, int Vectors>
PENLIGHT_INLINE void dot_columns(const PackedProduct& p, const uint8_t* quants, const int8_t* x,
                                 I (*acc)[Vectors]) {
#if defined(PENLIGHT_TARGET_I8MM)
    if constexpr (T % 2 == 0) return dot_pairs<Bits, Group, T>(quants, x, acc);
#endif
    if (Single && !p.prefetch) {
        __builtin_prefetch(quants + packed_follow + packed_rows * Group * Bits / 8, 0, 2);
        return dot_group<Bits, Group, T, Single>(quants, x, acc);
    }
    dot_group<Bits, Group, T, false>(quants, x, acc);
}
