// Products of q4g32c (packed.h): two groups at a time, whose sums stay whole numbers until they are
// scaled by the step of the activations.

// The scales and centres of `lanes` rows in two groups next to each other.
struct CentredPair {
    P scales, centres;
};
PENLIGHT_INLINE I load_centres(const uint8_t* scales, I shift) {
    return ishift(iload_int8(reinterpret_cast<const int8_t*>(scales + packed_rows)), shift);
}
PENLIGHT_INLINE CentredPair centred_pair(const uint8_t* first, const uint8_t* second, I shift) {
    return {pjoin(iload_uint8(first), iload_uint8(second)),
            pjoin(load_centres(first, shift), load_centres(second, shift))};
}

// sum[t][v] += the products of two groups, the second of which may be missing, with Vectors vectors
// of rows, whose quants and scales begin there. Between the two it asks for what follows `asked`.
template <int T, int Vectors>
PENLIGHT_INLINE void add_pair(const PackedProduct& p, const uint8_t* quants, const uint8_t* scales,
                              const uint8_t* asked, bool both, const std::byte* x, const I* shift,
                              V (*sum)[Vectors]) {
    constexpr int group = 32;
    constexpr int64_t group_bytes = packed_rows * (group / 2 + 2);
    alignas(64) static const uint8_t nothing[2 * packed_rows] = {};
    const int8_t* columns = reinterpret_cast<const int8_t*>(x);
    const float* scale = reinterpret_cast<const float*>(x + T * 2 * group);
    const int32_t* correction = reinterpret_cast<const int32_t*>(scale + T);  // [2][T]
    const int32_t* sums = correction + 2 * T;
    I first[T][Vectors], second[T][Vectors];
#pragma GCC unroll 8
    for (int t = 0; t < T; t++)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; v++) first[t][v] = iset(correction[t]);
    dot_columns<4, group, T, T == 1>(p, quants, columns, first);
    if (asked) ask_ahead<group_bytes>(asked);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; v++) second[t][v] = iset(correction[T + t]);
    if (both)
        dot_columns<4, group, T, T == 1>(p, quants + group_bytes, columns + T * group, second);
    const uint8_t* next = both ? scales + group_bytes : nothing;
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; v++) {
        const CentredPair w = centred_pair(scales + v * lanes, next + v * lanes, shift[v]);
#pragma GCC unroll 8
        for (int t = 0; t < T; t++) {
            const P dots = pjoin(first[t][v], second[t][v]);
            const I whole = pdot(pdot(iset(0), dots, w.scales), w.centres, pset(sums[t]));
            sum[t][v] = vfma(ifloat(whole), vset(scale[t]), sum[t][v]);
        }
    }
}

// out[T][Vectors * lanes] for the rows of a block from `row` on
template <int T, int Vectors>
void centred_tile(const PackedProduct& p, const uint8_t* block, int64_t row, const std::byte* tile,
                  float* out) {
    constexpr int group = 32, most = vectors_of<T>, step = most < Vectors ? most : Vectors;
    constexpr int64_t quant_bytes = packed_rows * group / 2;
    constexpr int64_t group_bytes = quant_bytes + 2 * packed_rows;
    const float* units = reinterpret_cast<const float*>(block) + row;
    const int32_t* shifts = reinterpret_cast<const int32_t*>(block) + packed_rows + row;
    I shift[Vectors];
    V sum[Vectors / step][T][step];
    for (int v = 0; v < Vectors; v++) {
        shift[v] = iload_shift(shifts + v * lanes);
        for (int t = 0; t < T; t++) sum[v / step][t][v % step] = vzero();
    }
    const std::byte* x = tile;
    const uint8_t* quants = block + p.format.head_bytes(p.inputs);
    const bool ask = row == 0 && p.prefetch;
    const uint8_t* next_block = asked_by(p, row, tile, quants);
    for (int64_t left = p.format.groups(p.inputs); left > 0; left -= 2) {
        if (next_block) next_block = ask_for(next_block, 2 * group_bytes);
        // One group's at a time: processors keep track of only so many reads.
        if (ask) ask_ahead<group_bytes>(quants);
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; v += step) {
            const uint8_t* from = quants + (row + v * lanes) * 4;
            const uint8_t* scales = quants + quant_bytes + row + v * lanes;
            const uint8_t* asked = ask && v == 0 ? quants + group_bytes : nullptr;
            add_pair<T, step>(p, from, scales, asked, left > 1, x, shift + v, sum[v / step]);
        }
        quants += 2 * group_bytes;
        x += T * (2 * group + 16);
    }
    for (int t = 0; t < T; t++)
        for (int v = 0; v < Vectors; v++)
            vstore(out + (t * Vectors + v) * lanes,
                   vmul(sum[v / step][t][v % step], vload(units + v * lanes)));
}
