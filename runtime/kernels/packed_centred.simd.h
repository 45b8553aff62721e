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

// out[T][vectors * lanes] for the rows of a block from `row` on
template <int T>
void centred_tile(const PackedProduct& p, const uint8_t* block, int64_t row, const std::byte* tile,
                  float* out) {
    constexpr int group = 32, vectors = vectors_of<T>;
    constexpr int64_t quant_bytes = packed_rows * group / 2;
    constexpr int64_t group_bytes = quant_bytes + 2 * packed_rows;
    alignas(64) static const uint8_t nothing[2 * packed_rows] = {};  // behind the last group
    const float* units = reinterpret_cast<const float*>(block) + row;
    const int32_t* shifts = reinterpret_cast<const int32_t*>(block) + packed_rows + row;
    I shift[vectors];
    V sum[T][vectors];
    for (int v = 0; v < vectors; v++) {
        shift[v] = iload_shift(shifts + v * lanes);
        for (int t = 0; t < T; t++) sum[t][v] = vzero();
    }
    const std::byte* x = tile;
    const uint8_t* quants = block + p.format.head_bytes();
    const bool ask = row == 0 && p.prefetch;
    const uint8_t* next_block = asked_by(p, row, tile, quants);
    for (int64_t left = p.format.groups(p.inputs); left > 0; left -= 2) {
        const float* scale = reinterpret_cast<const float*>(x + T * 2 * group);
        const int32_t* correction = reinterpret_cast<const int32_t*>(scale + T);  // [2][T]
        const int32_t* sums = correction + 2 * T;
        const int8_t* columns = reinterpret_cast<const int8_t*>(x);
        // One group's at a time: processors keep track of only so many reads.
        if (ask) ask_ahead<group_bytes>(quants);
        if (next_block) next_block = ask_for(next_block, 2 * group_bytes);
        I first[T][vectors], second[T][vectors];
#pragma GCC unroll 8
        for (int t = 0; t < T; t++)
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++) first[t][v] = iset(correction[t]);
        dot_columns<4, group, T, T == 1>(p, quants + row * 4, columns, first);
        if (ask) ask_ahead<group_bytes>(quants + group_bytes);
#pragma GCC unroll 8
        for (int t = 0; t < T; t++)
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++) second[t][v] = iset(correction[T + t]);
        if (left > 1)
            dot_columns<4, group, T, T == 1>(p, quants + group_bytes + row * 4, columns + T * group,
                                             second);
        const uint8_t* scales = quants + quant_bytes + row;
        const uint8_t* next = left > 1 ? scales + group_bytes : nothing;
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            const CentredPair w = centred_pair(scales + v * lanes, next + v * lanes, shift[v]);
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) {
                const P dots = pjoin(first[t][v], second[t][v]);
                const I whole = pdot(pdot(iset(0), dots, w.scales), w.centres, pset(sums[t]));
                sum[t][v] = vfma(ifloat(whole), vset(scale[t]), sum[t][v]);
            }
        }
        quants += 2 * group_bytes;
        x += T * (2 * group + 16);
    }
    for (int t = 0; t < T; t++)
        for (int v = 0; v < vectors; v++)
            vstore(out + (t * vectors + v) * lanes, vmul(sum[t][v], vload(units + v * lanes)));
}
