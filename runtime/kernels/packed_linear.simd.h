// y = x W^T for packed weights (packed.h), activations quantised by groups.
//
// Every output is summed over the groups in order, whatever the number of tokens computed
// together, so a token's result does not depend on its neighbours.
using kernels::packed_rows;
using kernels::PackedFormat;
using kernels::PackedProduct;

#if defined(PENLIGHT_TARGET_AVX512)
constexpr int packed_tiles[2] = {6, 4};  // with one and with two planes of activations
constexpr int packed_vectors = 2;
#elif defined(PENLIGHT_TARGET_AVX2)
constexpr int packed_tiles[2] = {4, 2};
constexpr int packed_vectors = 2;
#else
constexpr int packed_tiles[2] = {4, 2};
constexpr int packed_vectors = 4;
#endif

// Activations of a tile of T tokens, for each group:
//   int8 [group / 4][planes][T][4], then float scale [T], int32 correction [T], float scaled sum
//   [T]
int packed_tile(const PackedProduct& p) { return packed_tiles[p.format.planes == 2]; }
int64_t tile_tokens(const PackedProduct& p, int64_t index) {
    int64_t left = p.tokens - index * packed_tile(p);
    return left < packed_tile(p) ? left : packed_tile(p);
}
std::byte* tile_data(const PackedProduct& p, int64_t index) {
    return p.quantized + index * packed_tile(p) * quantized_token_bytes(p.format, p.inputs);
}

// x[0..count) to q[planes][group], zero past count; returns the scale.
float quantize_group(const float* x, int64_t count, int group, int planes, int8_t* q,
                     int32_t* sum) {
    V most = vzero();
    alignas(64) float line[32] = {};
    memcpy(line, x, static_cast<size_t>(count) * sizeof(float));
    for (int i = 0; i < group; i += lanes) most = vmax(most, vabs(vload(line + i)));
    float largest = vmax_of(most);
    const float levels = planes == 2 ? 127.0f * 128 : 127.0f;
    float inverse = largest > 0 ? levels / largest : 0.0f;
    int32_t total = 0;
    for (int i = 0; i < group; i += lanes) {
        V whole = vround(vmul(vload(line + i), vset(inverse)));
        if (planes == 2) {
            V high = vround(vmul(whole, vset(1.0f / 128)));
            vstore_int8(q + i, high);
            vstore_int8(q + group + i, vfma(high, vset(-128.0f), whole));
        } else {
            vstore_int8(q + i, whole);
        }
    }
    for (int i = 0; i < group; i++) total += q[i];
    if (planes == 2) {
        total *= 128;
        for (int i = 0; i < group; i++) total += q[group + i];
    }
    *sum = total;
    return largest / levels;
}

void packed_quantize(const PackedProduct& p, int64_t index) {
    const int group = p.format.group, planes = p.format.planes;
    const int64_t tile = tile_tokens(p, index), groups = p.format.groups(p.inputs);
    const int64_t record = tile * (planes * group + 12);
    const bool centred = p.format.bits == 8 && dot_u8_centred;
    const int32_t zero = centred ? 0 : p.format.zero();
    std::byte* data = tile_data(p, index);
    for (int64_t t = 0; t < tile; t++) {
        const float* x = p.x + (index * packed_tile(p) + t) * p.inputs;
        for (int64_t g = 0; g < groups; g++) {
            alignas(64) int8_t q[2 * 32];
            int32_t sum;
            int64_t left = p.inputs - g * group;
            float scale =
                quantize_group(x + g * group, left < group ? left : group, group, planes, q, &sum);
            std::byte* to = data + g * record;
            for (int plane = 0; plane < planes; plane++)
                for (int j = 0; j < group / 4; j++)
                    memcpy(to + ((j * planes + plane) * tile + t) * 4, q + plane * group + j * 4,
                           4);
            to += tile * planes * group;
            int32_t correction = -zero * sum;
            float scaled_sum = scale * static_cast<float>(sum);
            memcpy(to + t * 4, &scale, 4);
            memcpy(to + (tile + t) * 4, &correction, 4);
            memcpy(to + (2 * tile + t) * 4, &scaled_sum, 4);
        }
    }
}

PENLIGHT_INLINE V scale_at(const uint8_t* scales, bool wide, int64_t row) {
    return wide ? vload(reinterpret_cast<const float*>(scales) + row)
                : vload_half(reinterpret_cast<const uint16_t*>(scales) + row);
}

// acc[t][v] += products of one group of quants with T columns of activations (tokens and planes)
template <int Bits, int Group, int T>
PENLIGHT_INLINE void dot_group(const uint8_t* quants, const int8_t* x,
                               I (&acc)[T][packed_vectors]) {
#pragma GCC unroll 8
    for (int c = 0; c < Group * Bits / 32; c++) {
        W w[packed_vectors];
#pragma GCC unroll 4
        for (int v = 0; v < packed_vectors; v++)
            w[v] = wload(quants + c * packed_rows * 4 + v * lanes * 4);
        if constexpr (Bits == 4) {
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) {
                X a = xload(x + (2 * c * T + t) * 4);
#pragma GCC unroll 4
                for (int v = 0; v < packed_vectors; v++)
                    acc[t][v] = dot_u4(acc[t][v], low_nibbles(w[v]), a);
            }
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) {
                X a = xload(x + ((2 * c + 1) * T + t) * 4);
#pragma GCC unroll 4
                for (int v = 0; v < packed_vectors; v++)
                    acc[t][v] = dot_u4(acc[t][v], high_nibbles(w[v]), a);
            }
        } else {
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) {
                X a = xload(x + (c * T + t) * 4);
#pragma GCC unroll 4
                for (int v = 0; v < packed_vectors; v++) acc[t][v] = dot_u8(acc[t][v], w[v], a);
            }
        }
    }
}

// out[T][packed_vectors * lanes] for the rows of a block from `row` on
template <int Bits, int Group, int Planes, int T>
void quantized_tile(const PackedProduct& p, const uint8_t* block, int64_t row,
                    const std::byte* tile, float* out) {
    const PackedFormat& f = p.format;
    const int64_t groups = f.groups(p.inputs), group_bytes = f.group_bytes();
    constexpr int64_t quant_bytes = packed_rows * Group * Bits / 8;
    const int64_t scale_bytes = f.scale_bytes();
    const bool wide = f.wide, minimum = f.minimum;
    V sum[T][packed_vectors];
    for (int t = 0; t < T; t++)
        for (int v = 0; v < packed_vectors; v++) sum[t][v] = vzero();
    for (int64_t g = 0; g < groups; g++, block += group_bytes, tile += T * (Planes * Group + 12)) {
        const float* scale = reinterpret_cast<const float*>(tile + T * Planes * Group);
        const int32_t* correction = reinterpret_cast<const int32_t*>(scale + T);
        I acc[Planes * T][packed_vectors];  // the high plane first
#pragma GCC unroll 8
        for (int t = 0; t < Planes * T; t++)
#pragma GCC unroll 4
            for (int v = 0; v < packed_vectors; v++)
                acc[t][v] = iset(t < (Planes - 1) * T ? 0 : correction[t - (Planes - 1) * T]);
        dot_group<Bits, Group, Planes * T>(block + row * 4, reinterpret_cast<const int8_t*>(tile),
                                           acc);
#pragma GCC unroll 4
        for (int v = 0; v < packed_vectors; v++) {
            V w = scale_at(block + quant_bytes, wide, row + v * lanes);
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) {
                I whole = acc[t][v];
                if constexpr (Planes == 2) whole = ijoin(whole, acc[T + t][v]);
                sum[t][v] = vfma(vmul(ifloat(whole), w), vset(scale[t]), sum[t][v]);
            }
        }
        if (!minimum) continue;
        const float* scaled_sum = scale + 2 * T;
        for (int v = 0; v < packed_vectors; v++) {
            V m = scale_at(block + quant_bytes + scale_bytes, wide, row + v * lanes);
            for (int t = 0; t < T; t++) sum[t][v] = vfma(m, vset(scaled_sum[t]), sum[t][v]);
        }
    }
    for (int t = 0; t < T; t++)
        for (int v = 0; v < packed_vectors; v++)
            vstore(out + (t * packed_vectors + v) * lanes, sum[t][v]);
}

PENLIGHT_INLINE V vload_as(const float* p) { return vload(p); }
PENLIGHT_INLINE V vload_as(const kernels::Half* p) { return vload_half(&p->bits); }
PENLIGHT_INLINE V vload_as(const kernels::BFloat16* p) { return vload_bfloat16(&p->bits); }

template <class Weight, int T>
void float_tile(const PackedProduct& p, const uint8_t* block, int64_t row, const float* x,
                float* out) {
    V sum[T][packed_vectors];
    for (int t = 0; t < T; t++)
        for (int v = 0; v < packed_vectors; v++) sum[t][v] = vzero();
    const Weight* weight = reinterpret_cast<const Weight*>(block) + row;
    for (int64_t k = 0; k < p.inputs; k++, weight += packed_rows) {
        V w[packed_vectors];
        for (int v = 0; v < packed_vectors; v++) w[v] = vload_as(weight + v * lanes);
        for (int t = 0; t < T; t++) {
            V a = vset(x[t * p.inputs + k]);
            for (int v = 0; v < packed_vectors; v++) sum[t][v] = vfma(w[v], a, sum[t][v]);
        }
    }
    for (int t = 0; t < T; t++)
        for (int v = 0; v < packed_vectors; v++)
            vstore(out + (t * packed_vectors + v) * lanes, sum[t][v]);
}

template <int Planes, int T>
void packed_tile_of(const PackedProduct& p, const uint8_t* block, int64_t row, int64_t index,
                    float* out) {
    const PackedFormat& f = p.format;
    const std::byte* tile = f.quantized() ? tile_data(p, index) : nullptr;
    const float* x = p.x + index * packed_tile(p) * p.inputs;
    if (f.dtype == PENLIGHT_FLOAT) return float_tile<float, T>(p, block, row, x, out);
    if (f.dtype == PENLIGHT_HALF) return float_tile<kernels::Half, T>(p, block, row, x, out);
    if (f.dtype == PENLIGHT_BFLOAT16)
        return float_tile<kernels::BFloat16, T>(p, block, row, x, out);
    if (f.bits == 4 && f.group == 32)
        return quantized_tile<4, 32, Planes, T>(p, block, row, tile, out);
    if (f.bits == 4) return quantized_tile<4, 16, Planes, T>(p, block, row, tile, out);
    if (f.group == 32) return quantized_tile<8, 32, Planes, T>(p, block, row, tile, out);
    return quantized_tile<8, 16, Planes, T>(p, block, row, tile, out);
}

template <int Planes>
void packed_tile_any(int64_t tokens, const PackedProduct& p, const uint8_t* block, int64_t row,
                     int64_t index, float* out) {
    static_assert(packed_tiles[0] <= 6 && packed_tiles[1] <= 4);
    switch (tokens) {
        case 1: return packed_tile_of<Planes, 1>(p, block, row, index, out);
        case 2: return packed_tile_of<Planes, 2>(p, block, row, index, out);
    }
    if constexpr (packed_tiles[Planes - 1] >= 4) {
        if (tokens == 3) return packed_tile_of<Planes, 3>(p, block, row, index, out);
        if (tokens == 4) return packed_tile_of<Planes, 4>(p, block, row, index, out);
    }
    if constexpr (packed_tiles[Planes - 1] >= 6) {
        if (tokens == 5) return packed_tile_of<Planes, 5>(p, block, row, index, out);
        return packed_tile_of<Planes, 6>(p, block, row, index, out);
    }
}

void packed_block(const PackedProduct& p, int64_t number) {
    const uint8_t* block = p.weight + number * p.format.block_bytes(p.inputs);
    constexpr int64_t step = packed_vectors * lanes;
    for (int64_t index = 0; index * packed_tile(p) < p.tokens; index++) {
        const int64_t tokens = tile_tokens(p, index);
        for (int64_t row = 0; row < packed_rows; row += step) {
            const int64_t first = number * packed_rows + row;
            if (first >= p.rows) break;
            const int64_t count = p.rows - first < step ? p.rows - first : step;
            alignas(64) float values[packed_tiles[0] * step];
            if (p.format.planes == 2)
                packed_tile_any<2>(tokens, p, block, row, index, values);
            else
                packed_tile_any<1>(tokens, p, block, row, index, values);
            for (int64_t t = 0; t < tokens; t++) {
                float* out = p.out + (index * packed_tile(p) + t) * p.rows + first;
                const float* from = values + t * step;
                for (int64_t i = 0; i < count; i++)
                    out[i] = p.bias ? from[i] + p.bias[first + i] : from[i];
            }
        }
    }
}

const kernels::PackedCore packed_core{
    {packed_tiles[0], packed_tiles[1]}, packed_quantize, packed_block};
