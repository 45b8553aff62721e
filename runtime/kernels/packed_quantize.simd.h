// Activations to int8 by groups, as the products with packed weights (packed.h) read them.
//
// A tile of T tokens is, for each group:
//     int8 [planes][T][group], float scale [T], int32 correction [T], float scaled sum [T]
// with scales as vscale_by gives them, or, where weights have more than 4 bits and activations one
// plane, as factors.
// A record of one group has its tokens side by side, because they meet the same weights.
// For q4g32c a tile is, for each pair of groups:
//     int8 [2 groups][T][group], float scale [T], int32 correction [2 groups][T], int16 sum [T][2]
int packed_tile(const PackedProduct& p) { return packed_tiles[p.format.kind()]; }
int64_t tile_tokens(const PackedProduct& p, int64_t index) {
    int64_t left = p.tokens - index * packed_tile(p);
    return left < packed_tile(p) ? left : packed_tile(p);
}
std::byte* tile_data(const PackedProduct& p, int64_t index) {
    return p.quantized + index * packed_tile(p) * quantized_token_bytes(p.format, p.inputs);
}

// One token's place in the record of a group.
template <int Group, int Planes> struct QuantizedGroup {
    std::byte* record;
    int64_t tile, token;  // of `tile` tokens the one with this number

    PENLIGHT_INLINE int64_t bytes() const { return tile * (Planes * Group + 12); }
    PENLIGHT_INLINE QuantizedGroup next(int64_t groups) const {
        return {record + groups * bytes(), tile, token};
    }
    PENLIGHT_INLINE int8_t* plane(int number) const {
        return reinterpret_cast<int8_t*>(record) + (number * tile + token) * Group;
    }
    PENLIGHT_INLINE void set_numbers(const float* scale, const int32_t* correction,
                                     const float* scaled_sum) const {
        std::byte* at = record + tile * Planes * Group + token * 4;
        memcpy(at, scale, 4);
        memcpy(at + tile * 4, correction, 4);
        memcpy(at + tile * 8, scaled_sum, 4);
    }
};

// The largest magnitudes of Count numbers, by lanes.
template <int Count> PENLIGHT_INLINE V most_of(const float* x) {
    V most = vabs(vload(x));
#pragma GCC unroll 8
    for (int k = lanes; k < Count; k += lanes) most = vmax(most, vabs(vload(x + k)));
    return most;
}

// Stores round(x * inverse), and gives its sum by lanes: all numbers are integral.
template <int Group, int Planes>
PENLIGHT_INLINE V store_group(QuantizedGroup<Group, Planes> to, const float* x, float inverse) {
    V sum = vzero();
#pragma GCC unroll 8
    for (int k = 0; k < Group; k += lanes) {
        V whole = vround(vmul(vload(x + k), vset(inverse)));
        sum = vadd(sum, whole);
        if constexpr (Planes == 1) {
            vstore_int8(to.plane(0) + k, whole);
        } else {
            V high = vround(vmul(whole, vset(1.0f / 128)));
            vstore_int8(to.plane(0) + k, high);
            vstore_int8(to.plane(1) + k, vfma(high, vset(-128.0f), whole));
        }
    }
    return sum;
}

// The next `count` <= folds groups of a token, from x [folds][Group]. The weights' zero is
// corrected for by `correction` for each unit of a group's sum. Exact: the largest number of a
// group becomes 127.
template <int Group, int Planes, bool Exact>
PENLIGHT_INLINE void quantize_groups(QuantizedGroup<Group, Planes> to, int64_t count,
                                     const float* x, float correction) {
    alignas(64) float inverse[lanes], scale[lanes], scaled_sum[lanes];
    alignas(64) int32_t corrections[lanes];
    V most[folds], sum[folds];
#pragma GCC unroll 4
    for (int i = 0; i < folds; i++) most[i] = most_of<Group>(x + i * Group);
    V largest = vmax(vfold<vmax>(most), vset(0x1p-100f)), unit;
    if constexpr (Exact) {
        unit = vmul(largest, vset(1.0f / 127));
        vstore(scale, unit);
        vstore(inverse, vdiv(vset(127.0f), largest));
    } else {
        // 129 / 128 keeps what rounds to more than 127 (127 * 128) out of the range.
        largest = vmul(largest, vset(129.0f / 128));
        V exponent = vsub(vexponent(largest), vset(Planes == 2 ? 13 : 6));
        unit = vpow2(exponent);
        vstore(scale, vscale_by(exponent));
        vstore(inverse, vpow2(vsub(vzero(), exponent)));
    }
#pragma GCC unroll 4
    for (int i = 0; i < folds; i++) {
        sum[i] = vzero();
        if (i < count) sum[i] = store_group(to.next(i), x + i * Group, inverse[i]);
    }
    V total = vfold<vadd>(sum);
    istore(corrections, iround(vmul(total, vset(correction))));
    vstore(scaled_sum, vmul(total, unit));
#pragma GCC unroll 4
    for (int i = 0; i < folds; i++)
        if (i < count) to.next(i).set_numbers(scale + i, corrections + i, scaled_sum + i);
}

template <int Group, int Planes, bool Exact = false>
void quantize_tile(const PackedProduct& p, int64_t index) {
    const bool centred = p.format.bits == 8 && dot_u8_centred;
    const float correction = centred ? 0.0f : -static_cast<float>(p.format.zero());
    constexpr int64_t step = folds * Group;
    const int64_t tile = tile_tokens(p, index);
    for (int64_t t = 0; t < tile; t++) {
        const float* x = p.x + (index * packed_tile(p) + t) * p.inputs;
        QuantizedGroup<Group, Planes> to{tile_data(p, index), tile, t};
        int64_t i = 0;
        for (; i + step <= p.inputs; i += step, to = to.next(folds))
            quantize_groups<Group, Planes, Exact>(to, folds, x + i, correction);
        if (i == p.inputs) continue;
        alignas(64) float rest[step] = {};
        memcpy(rest, x + i, static_cast<size_t>(p.inputs - i) * sizeof(float));
        quantize_groups<Group, Planes, Exact>(to, p.format.groups(p.inputs - i), rest, correction);
    }
}

// The next `count` <= folds pairs of groups of a token, from x [folds][64], into records of `tile`
// tokens.
PENLIGHT_INLINE void quantize_pairs(std::byte* record, int64_t tile, int64_t token, int64_t count,
                                    const float* x) {
    alignas(64) float inverse[lanes], scale[lanes];
    alignas(64) int32_t sums[2][lanes];
    V most[folds], sum[2][folds];
#pragma GCC unroll 4
    for (int i = 0; i < folds; i++) most[i] = most_of<64>(x + i * 64);
    const V largest = vmax(vfold<vmax>(most), vset(0x1p-100f));
    vstore(scale, vmul(largest, vset(1.0f / 127)));
    vstore(inverse, vdiv(vset(127.0f), largest));
    const int64_t bytes = tile * 80;
#pragma GCC unroll 4
    for (int i = 0; i < folds; i++)
        for (int g = 0; g < 2; g++) {
            const QuantizedGroup<32, 1> to{record + i * bytes, tile, g * tile + token};
            sum[g][i] = i < count ? store_group(to, x + i * 64 + g * 32, inverse[i]) : vzero();
        }
    for (int g = 0; g < 2; g++) istore(sums[g], iround(vfold<vadd>(sum[g])));
    for (int64_t i = 0; i < count; i++) {
        std::byte* at = record + i * bytes + tile * 64 + token * 4;
        const int32_t numbers[3] = {
            -8 * sums[0][i], -8 * sums[1][i],
            static_cast<int32_t>(static_cast<uint32_t>(sums[1][i]) << 16 | (sums[0][i] & 0xffff))};
        memcpy(at, scale + i, 4);
        for (int n = 0; n < 3; n++) memcpy(at + (n + 1) * tile * 4, numbers + n, 4);
    }
}

void quantize_centred(const PackedProduct& p, int64_t index) {
    constexpr int64_t step = folds * 64;
    const int64_t tile = tile_tokens(p, index);
    for (int64_t t = 0; t < tile; t++) {
        const float* x = p.x + (index * packed_tile(p) + t) * p.inputs;
        std::byte* record = tile_data(p, index);
        int64_t i = 0;
        for (; i + step <= p.inputs; i += step, record += folds * tile * 80)
            quantize_pairs(record, tile, t, folds, x + i);
        if (i == p.inputs) continue;
        alignas(64) float rest[step] = {};
        memcpy(rest, x + i, static_cast<size_t>(p.inputs - i) * sizeof(float));
        quantize_pairs(record, tile, t, (p.inputs - i + 63) / 64, rest);
    }
}

template <int Group> void quantize_any(const PackedProduct& p, int64_t index) {
    if (p.format.planes == 2) return quantize_tile<Group, 2>(p, index);
    if (p.format.bits > 4) return quantize_tile<Group, 1, true>(p, index);
    quantize_tile<Group, 1>(p, index);
}

void packed_quantize(const PackedProduct& p, int64_t index) {
    if (p.format.centred()) return quantize_centred(p, index);
    return p.format.group == 32 ? quantize_any<32>(p, index) : quantize_any<16>(p, index);
}
