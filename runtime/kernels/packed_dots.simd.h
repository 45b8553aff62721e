// Dot products of one group of quants with some columns of activations, as whole numbers.

// sums[t][v] += products of one group of quants with T columns [T][Group] of activations
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
