// Activations to int8 by groups, as the products with packed weights (packed.h) read them.
//
// A tile of T tokens is, for each group:
//     int8 [planes][T][group], float scale [T], int32 correction [T], float scaled sum [T]
// A record of one group has its tokens side by side, because they meet the same weights.
int packed_tile(const PackedProduct& p) { return packed_tiles[p.format.planes == 2]; }
int64_t tile_tokens(const PackedProduct& p, int64_t index) {
    int64_t left = p.tokens - index * packed_tile(p);
    return left < packed_tile(p) ? left : packed_tile(p);
}
std::byte* tile_data(const PackedProduct& p, int64_t index) {
    return p.quantized + index * packed_tile(p) * quantized_token_bytes(p.format, p.inputs);
}

// One token's place in the records of a tile.
struct QuantizedToken {
    std::byte* records;
    int64_t tile, token;  // of `tile` tokens the one with this number
    int planes, group;
    int32_t zero;  // that the weights are to be corrected for

    int64_t record_bytes() const { return tile * (planes * group + 12); }
    int8_t* plane(int64_t g, int number) const {
        return reinterpret_cast<int8_t*>(records + g * record_bytes()) +
               (number * tile + token) * group;
    }
};

constexpr int64_t quantize_most = 64;  // groups at a time

// to[g] = the largest magnitude of group g of x
void group_magnitudes(const float* x, int64_t groups, int group, float* to) {
    for (int64_t g = 0; g < groups; g += 4) {
        V most[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const float* from = x + (g + i < groups ? g + i : groups - 1) * group;
            most[i] = vabs(vload(from));
            for (int k = lanes; k < group; k += lanes)
                most[i] = vmax(most[i], vabs(vload(from + k)));
        }
        vfold4<vmax>(most[0], most[1], most[2], most[3], to + g);
    }
}

// Stores round(x * inverse) of one group, and gives its sum by lanes: all numbers are integral.
PENLIGHT_INLINE V store_group(const QuantizedToken& to, int64_t g, const float* x, float inverse) {
    int8_t* q = to.plane(g, 0);
    V sum = vzero();
    for (int k = 0; k < to.group; k += lanes) {
        V whole = vround(vmul(vload(x + k), vset(inverse)));
        sum = vadd(sum, whole);
        if (to.planes == 1) {
            vstore_int8(q + k, whole);
            continue;
        }
        V high = vround(vmul(whole, vset(1.0f / 128)));
        vstore_int8(q + k, high);
        vstore_int8(to.plane(g, 1) + k, vfma(high, vset(-128.0f), whole));
    }
    return sum;
}

// The first groups of a token, at most quantize_most, from whole groups of x.
void quantize_groups(const QuantizedToken& to, const float* x, int64_t groups) {
    const float levels = to.planes == 2 ? 127.0f * 128 : 127.0f;
    alignas(64) float largest[quantize_most] = {}, inverse[quantize_most], sums[quantize_most];
    group_magnitudes(x, groups, to.group, largest);
    for (int64_t g = 0; g < groups; g += lanes) {  // below 5e-35 the quotient might overflow
        vstore(inverse + g, vdiv(vset(levels), vmax(vload(largest + g), vset(5e-35f))));
        vstore(largest + g, vdiv(vload(largest + g), vset(levels)));
    }
    for (int64_t g = 0; g < groups; g += 4) {
        V sum[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const int64_t at = g + i < groups ? g + i : groups - 1;
            sum[i] = store_group(to, at, x + at * to.group, inverse[at]);
        }
        vfold4<vadd>(sum[0], sum[1], sum[2], sum[3], sums + g);
    }
    const float limit = levels * 32;
    for (int64_t g = 0; g < groups; g++) {
        std::byte* record = to.records + g * to.record_bytes() + to.tile * to.planes * to.group;
        const float scale = largest[g], sum = sums[g];
        // Activations that are not finite have sums that are no integers.
        const int32_t correction =
            std::fabs(sum) <= limit ? -to.zero * static_cast<int32_t>(sum) : 0;
        const float scaled_sum = scale * sum;
        memcpy(record + to.token * 4, &scale, 4);
        memcpy(record + (to.tile + to.token) * 4, &correction, 4);
        memcpy(record + (2 * to.tile + to.token) * 4, &scaled_sum, 4);
    }
}

void packed_quantize(const PackedProduct& p, int64_t index) {
    const int group = p.format.group;
    const bool centred = p.format.bits == 8 && dot_u8_centred;
    QuantizedToken to{
        tile_data(p, index),          tile_tokens(p, index), 0, p.format.planes, group,
        centred ? 0 : p.format.zero()};
    const int64_t whole = p.inputs / group, rest = p.inputs % group;
    for (; to.token < to.tile; to.token++) {
        const float* x = p.x + (index * packed_tile(p) + to.token) * p.inputs;
        QuantizedToken at = to;
        for (int64_t g = 0; g < whole; g += quantize_most) {
            const int64_t count = whole - g < quantize_most ? whole - g : quantize_most;
            quantize_groups(at, x + g * group, count);
            at.records += count * at.record_bytes();
        }
        if (rest == 0) continue;
        alignas(64) float line[32] = {};
        memcpy(line, x + whole * group, static_cast<size_t>(rest) * sizeof(float));
        quantize_groups(at, line, 1);
    }
}
