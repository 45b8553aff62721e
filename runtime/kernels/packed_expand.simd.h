// Products of many tokens with q4g32c (packed.h): a block's weights are first written as bytes with
// a scale for each row, which takes scales and centres out of the products.

// Bytes of weights cost AVX2 half as much again as nibbles, and other sets nothing.
#if defined(PENLIGHT_TARGET_AVX2) && !defined(PENLIGHT_TARGET_AVXVNNI)
constexpr bool packed_expands = false;
#else
constexpr bool packed_expands = true;
#endif

// What p.expanded holds: for each run of expanded_run inputs the rows' scales, fp32, and
// [inputs of the run / 4][packed_rows][4] bytes, each run but the last full.
constexpr int64_t run_groups = kernels::expanded_run / 32;
constexpr int64_t run_scales = packed_rows * 4, group_weights = packed_rows * 32;

// The largest magnitude that a weight of `lanes` rows can have in some groups, in units of its row.
PENLIGHT_INLINE V largest_weight(const uint8_t* scales, int64_t groups, int64_t group_bytes,
                                 I shift) {
    V most = vset(1);
    for (int64_t g = 0; g < groups; g++, scales += group_bytes) {
        const V scale = ifloat(iload_uint8(scales)), centre = ifloat(load_centres(scales, shift));
        most = vmax(most,
                    vmax(vabs(vfma(scale, vset(-8), centre)), vabs(vfma(scale, vset(7), centre))));
    }
    return most;
}

// A run of groups of `lanes` rows, from their quants and scales, to their places.
PENLIGHT_INLINE void expand_run(const uint8_t* quants, const uint8_t* scales, int64_t groups,
                                int64_t group_bytes, I shift, V unit, float* units, uint8_t* to) {
    constexpr int64_t run = packed_rows * 4;
    const V most = largest_weight(scales, groups, group_bytes, shift);
    // In 256ths of what a byte counts, so that a weight is a 16-bit product, a sum and its high
    // byte. The largest is 127 * 256 + (128 + 1/2) * 256 and what 15 roundings add, below 2^16.
    const V step = vdiv(vset(127 * 256), most);
    vstore(units, vmul(unit, vmul(most, vset(1.0f / 127))));
    for (int64_t g = 0; g < groups; g++, quants += group_bytes, scales += group_bytes) {
        const V scale = ifloat(iload_uint8(scales)), centre = ifloat(load_centres(scales, shift));
        const I times = iround(vmul(scale, step));
        const V least = vround(vmul(vfma(scale, vset(-8), centre), step));
        const I plus = iround(vadd(least, vset(128.5f * 256)));
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++, to += 2 * run) {
            const W w = wload(quants + c * run);
            wstore(to, wspread(low_nibbles(w), times, plus));
            wstore(to + run, wspread(high_nibbles(w), times, plus));
        }
    }
}

void expand_block(const PackedProduct& p, const uint8_t* block) {
    const int64_t groups = p.format.groups(p.inputs), group_bytes = p.format.group_bytes();
    const float* units = reinterpret_cast<const float*>(block);
    const int32_t* shifts = reinterpret_cast<const int32_t*>(block) + packed_rows;
    const uint8_t* quants = block + p.format.head_bytes(p.inputs);
    const uint8_t* scales = quants + p.format.quant_bytes();
    uint8_t* to = reinterpret_cast<uint8_t*>(p.expanded);
    for (int64_t g = 0; g < groups; g += run_groups) {
        const int64_t count = groups - g < run_groups ? groups - g : run_groups;
        for (int64_t row = 0; row < packed_rows; row += lanes)
            expand_run(quants + row * 4, scales + row, count, group_bytes,
                       iload_shift(shifts + row), vload(units + row),
                       reinterpret_cast<float*>(to) + row, to + run_scales + row * 4);
        quants += count * group_bytes, scales += count * group_bytes;
        to += run_scales + count * group_weights;
    }
}

// sum[t][v] += the products of a run of groups. Activations are as centred_tile reads them.
template <int T, int Vectors>
PENLIGHT_INLINE void add_expanded(const PackedProduct& p, const uint8_t* weights, int64_t groups,
                                  const std::byte* x, V (*sum)[Vectors]) {
    constexpr int group = 32;
    for (; groups > 0; groups -= 2, weights += 2 * group_weights, x += T * (2 * group + 16)) {
        const int8_t* columns = reinterpret_cast<const int8_t*>(x);
        const float* scale = reinterpret_cast<const float*>(x + T * 2 * group);
        const int32_t* correction = reinterpret_cast<const int32_t*>(scale + T);  // [2][T], for 8
        I acc[T][Vectors];
#pragma GCC unroll 8
        for (int t = 0; t < T; t++)
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; v++)
                acc[t][v] = iset(dot_u8_centred ? 0 : (correction[t] + correction[T + t]) * 16);
        dot_columns<8, group, T, false>(p, weights, columns, acc);
        if (groups > 1)
            dot_columns<8, group, T, false>(p, weights + group_weights, columns + T * group, acc);
#pragma GCC unroll 8
        for (int t = 0; t < T; t++)
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; v++)
                sum[t][v] = vfma(ifloat(acc[t][v]), vset(scale[t]), sum[t][v]);
    }
}

// out[T][vectors * lanes] for the rows of a block from `row` on
template <int T>
void expanded_tile(const PackedProduct& p, int64_t row, const std::byte* tile, float* out) {
    constexpr int vectors = vectors_of<T>;
    const int64_t groups = p.format.groups(p.inputs);
    const uint8_t* from = reinterpret_cast<const uint8_t*>(p.expanded);
    V sum[T][vectors];
    for (int t = 0; t < T; t++)
        for (int v = 0; v < vectors; v++) sum[t][v] = vzero();
    const std::byte* x = tile;
    for (int64_t g = 0; g < groups; g += run_groups) {
        const int64_t count = groups - g < run_groups ? groups - g : run_groups;
        const float* units = reinterpret_cast<const float*>(from) + row;
        V run[T][vectors];
#pragma GCC unroll 8
        for (int t = 0; t < T; t++)
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++) run[t][v] = vzero();
        add_expanded<T>(p, from + run_scales + row * 4, count, x, run);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            const V unit = vload(units + v * lanes);
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) sum[t][v] = vfma(run[t][v], unit, sum[t][v]);
        }
        from += run_scales + count * group_weights;
        x += T * count * (32 + 8);
    }
    for (int t = 0; t < T; t++)
        for (int v = 0; v < vectors; v++) vstore(out + (t * vectors + v) * lanes, sum[t][v]);
}
