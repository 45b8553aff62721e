// y = x W^T for packed weights (packed.h), activations quantised by groups.
//
// Every output is summed over the groups in order, whatever the number of tokens computed
// together, so a token's result does not depend on its neighbours; only whether q4g32c is met as it
// is or as bytes (packed_expand.simd.h) depends on how many tokens a call has.
using kernels::packed_rows;
using kernels::packed_run;
using kernels::PackedFormat;
using kernels::PackedProduct;

// Tokens of a tile, by PackedFormat::kind(), and the vectors of rows that it has. Up to packed_few
// columns of activations, which wait for memory, meet all rows of a block: it is read in order
// then.
#if defined(PENLIGHT_TARGET_AVX512)
constexpr int packed_tiles[3] = {6, 4, 4};
constexpr int packed_vectors = 2, packed_few = 0, packed_registers = 32;
#elif defined(PENLIGHT_TARGET_AVX2)
constexpr int packed_tiles[3] = {4, 2, 4};
constexpr int packed_vectors = 2, packed_few = 2, packed_registers = 16;
#elif defined(PENLIGHT_TARGET_NEON)
constexpr int packed_tiles[3] = {4, 2, 4};
constexpr int packed_vectors = 4, packed_few = 1, packed_registers = 32;
#else
constexpr int packed_tiles[3] = {4, 2, 4};
constexpr int packed_vectors = 4, packed_few = 0, packed_registers = 32;
#endif
template <int Columns>
constexpr int vectors_of = Columns <= packed_few ? packed_rows / lanes : packed_vectors;
// The first tile of q4g32c meets all rows too, some at a time: it is what waits for memory.
constexpr int packed_whole = packed_few > 0 ? packed_rows / lanes : packed_vectors;
// Rows of tile number `index`, which has so many tokens.
int64_t rows_of(const PackedProduct& p, int64_t index, int64_t tokens) {
    if (p.format.centred() && !p.expanded)
        return (index == 0 ? packed_whole : packed_vectors) * lanes;
    const int64_t columns = p.format.planes == 2 ? 2 * tokens : tokens;
    return columns <= packed_few ? packed_rows : packed_vectors * lanes;
}

// The groups of inputs that a tile goes through at once, behind those before them. The first tile
// of a block, if it takes its rows in turn, does so every packed_part groups: the block is read in
// order then, and what it asks for comes while the other rows are computed.
struct Part {
    int64_t begin, end;
};
constexpr int64_t packed_part = 2, float_group = 32;

#include "packed_quantize.simd.h"

#include "packed_prefetch.simd.h"

#include "packed_dots.simd.h"

// scales or minimums of `lanes` rows, of numbers of `size` bytes; of one byte: times units
PENLIGHT_INLINE V scale_at(const uint8_t* scales, int size, int64_t row, const uint8_t* units) {
    if (size == 4) return vload(reinterpret_cast<const float*>(scales) + row);
    if (size == 2) return vload_half(reinterpret_cast<const uint16_t*>(scales) + row);
    const V unit = vload_half(reinterpret_cast<const uint16_t*>(units) + row);
    return vmul(vload_int8(reinterpret_cast<const int8_t*>(scales) + row), unit);
}

#include "packed_centred.simd.h"
#include "packed_expand.simd.h"

// low[t][v] += the minimums of one group, from `row` on, times the sums of T tokens
template <int T, int Vectors>
PENLIGHT_INLINE void add_minimums(const uint8_t* minimums, int size, int64_t row,
                                  const uint8_t* units, const float* scaled_sum,
                                  V (&low)[T][Vectors]) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; v++) {
        V m = scale_at(minimums, size, row + v * lanes, units);
#pragma GCC unroll 8
        for (int t = 0; t < T; t++) low[t][v] = vfma(m, vset(scaled_sum[t]), low[t][v]);
    }
}

// out[T][vectors * lanes] for the rows of a block from `row` on; of the parts before, if any, it
// holds the sums
template <int Bits, int Group, int Planes, int T>
void quantized_tile(const PackedProduct& p, const uint8_t* block, int64_t row,
                    const std::byte* tile, Part part, float* out) {
    constexpr int vectors = vectors_of<T * Planes>;
    const PackedFormat& f = p.format;
    const int64_t groups = f.groups(p.inputs), group_bytes = f.group_bytes();
    constexpr int64_t quant_bytes = packed_rows * Group * Bits / 8;
    constexpr int64_t record_bytes = T * (Planes * Group + 12);
    const int scale_size = f.scale_size;
    const bool minimum = f.minimum;
    const uint8_t* quants = block + f.head_bytes(p.inputs);
    const uint8_t* minimums = quants + quant_bytes + f.scale_bytes();
    const uint8_t* units_of_minimums = block + f.unit_bytes(p.inputs);
    // Of group g: where the units of its run lie.
    const auto units_at = [](int64_t g) { return g * Group / packed_run * packed_rows * 2; };
    const uint8_t* next_block = asked_by(p, row, tile, quants);
    quants += part.begin * group_bytes;
    const std::byte* x = tile + part.begin * record_bytes;
    // Minimums are met on the way where registers are enough, else on a second one.
    constexpr bool fits = (Planes + 2) * T * vectors <= packed_registers - 8;
    const bool ends = part.end == groups, one_way = fits && minimum && !part.begin && ends;
    V sum[T][vectors], low[T][vectors];
    for (int t = 0; t < T; t++)
        for (int v = 0; v < vectors; v++) {
            sum[t][v] = part.begin ? vload(out + (t * vectors + v) * lanes) : vzero();
            low[t][v] = vzero();
        }
    for (int64_t g = part.begin; g < part.end; g++, quants += group_bytes, x += record_bytes) {
        const float* scale = reinterpret_cast<const float*>(x + T * Planes * Group);
        const int32_t* correction = reinterpret_cast<const int32_t*>(scale + T);
        I acc[Planes * T][vectors];  // the high plane first
#pragma GCC unroll 8
        for (int t = 0; t < Planes * T; t++)
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                acc[t][v] = iset(t < (Planes - 1) * T ? 0 : correction[t - (Planes - 1) * T]);
        if (row == 0 && p.prefetch) {
            ask_ahead<quant_bytes + 64>(quants);
            if (group_bytes > quant_bytes + 64)
                __builtin_prefetch(quants + packed_ahead + quant_bytes + 64, 0, 3);
        }
        if (next_block) next_block = ask_for(next_block, group_bytes);
        const int8_t* columns = reinterpret_cast<const int8_t*>(x);
        dot_columns<Bits, Group, Planes * T, false>(p, quants + row * 4, columns, acc);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            V w = scale_at(quants + quant_bytes, scale_size, row + v * lanes, block + units_at(g));
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) {
                I whole = acc[t][v];
                if constexpr (Planes == 2) whole = ijoin(whole, acc[T + t][v]);
                V scaled = Bits > 4 && Planes == 1 ? vmul(ifloat(whole), vset(scale[t]))
                                                   : vscale(ifloat(whole), vset(scale[t]));
                sum[t][v] = vfma(scaled, w, sum[t][v]);
            }
        }
        if (one_way)
            add_minimums<T>(minimums + g * group_bytes, scale_size, row,
                            units_of_minimums + units_at(g), scale + 2 * T, low);
    }
    x = tile + T * (Planes * Group + 8);  // the scaled sums
    const bool second_way = minimum && ends && !one_way;
    for (int64_t g = second_way ? 0 : groups; g < groups; g++, x += record_bytes)
        add_minimums<T>(minimums + g * group_bytes, scale_size, row,
                        units_of_minimums + units_at(g), reinterpret_cast<const float*>(x), low);
    for (int t = 0; t < T; t++)
        for (int v = 0; v < vectors; v++)
            vstore(out + (t * vectors + v) * lanes, vadd(sum[t][v], low[t][v]));
}

template <int Group, int Planes, int T>
void quantized_tile_of(const PackedProduct& p, const uint8_t* block, int64_t row,
                       const std::byte* tile, Part part, float* out) {
    const int bits = p.format.bits;
    if (bits == 4) return quantized_tile<4, Group, Planes, T>(p, block, row, tile, part, out);
    if (bits == 6) return quantized_tile<6, Group, Planes, T>(p, block, row, tile, part, out);
    quantized_tile<8, Group, Planes, T>(p, block, row, tile, part, out);
}

PENLIGHT_INLINE V load_up_to(const float* p, int64_t n) {
    return n >= lanes ? vload(p) : vload_n(p, n);
}

PENLIGHT_INLINE V vload_as(const float* p) { return vload(p); }
PENLIGHT_INLINE V vload_as(const kernels::Half* p) { return vload_half(&p->bits); }
PENLIGHT_INLINE V vload_as(const kernels::BFloat16* p) { return vload_bfloat16(&p->bits); }

template <class Weight, int T>
void float_tile(const PackedProduct& p, const uint8_t* block, int64_t row, const float* x,
                Part part, float* out) {
    constexpr int vectors = vectors_of<T>;
    V sum[T][vectors];
    for (int t = 0; t < T; t++)
        for (int v = 0; v < vectors; v++)
            sum[t][v] = part.begin ? vload(out + (t * vectors + v) * lanes) : vzero();
    int64_t k = part.begin * float_group, end = part.end * float_group;
    if (end > p.inputs) end = p.inputs;
    const Weight* weight = reinterpret_cast<const Weight*>(block) + k * packed_rows + row;
    for (; k < end; k++, weight += packed_rows) {
        V w[vectors];
        for (int v = 0; v < vectors; v++) w[v] = vload_as(weight + v * lanes);
        for (int t = 0; t < T; t++) {
            V a = vset(x[t * p.inputs + k]);
            for (int v = 0; v < vectors; v++) sum[t][v] = vfma(w[v], a, sum[t][v]);
        }
    }
    for (int t = 0; t < T; t++)
        for (int v = 0; v < vectors; v++) vstore(out + (t * vectors + v) * lanes, sum[t][v]);
}

template <int Planes, int T>
void packed_tile_of(const PackedProduct& p, const uint8_t* block, int64_t row, int64_t index,
                    Part part, float* out) {
    const PackedFormat& f = p.format;
    const std::byte* tile = f.quantized() ? tile_data(p, index) : nullptr;
    const float* x = p.x + index * packed_tile(p) * p.inputs;
    if (f.dtype == PENLIGHT_FLOAT) return float_tile<float, T>(p, block, row, x, part, out);
    if (f.dtype == PENLIGHT_HALF) return float_tile<kernels::Half, T>(p, block, row, x, part, out);
    if (f.dtype == PENLIGHT_BFLOAT16)
        return float_tile<kernels::BFloat16, T>(p, block, row, x, part, out);
    if (p.expanded) return expanded_tile<T>(p, row, tile, out);
    if (f.centred() && index == 0) return centred_tile<T, packed_whole>(p, block, row, tile, out);
    if (f.centred()) return centred_tile<T, packed_vectors>(p, block, row, tile, out);
    if (f.group == 32) return quantized_tile_of<32, Planes, T>(p, block, row, tile, part, out);
    quantized_tile_of<16, Planes, T>(p, block, row, tile, part, out);
}

template <int Planes>
void packed_tile_any(int64_t tokens, const PackedProduct& p, const uint8_t* block, int64_t row,
                     int64_t index, Part part, float* out) {
    static_assert(packed_tiles[0] <= 6 && packed_tiles[1] <= 4 && packed_tiles[2] <= 4);
    switch (tokens) {
        case 1: return packed_tile_of<Planes, 1>(p, block, row, index, part, out);
        case 2: return packed_tile_of<Planes, 2>(p, block, row, index, part, out);
    }
    if constexpr (packed_tiles[Planes - 1] >= 4) {
        if (tokens == 3) return packed_tile_of<Planes, 3>(p, block, row, index, part, out);
        if (tokens == 4) return packed_tile_of<Planes, 4>(p, block, row, index, part, out);
    }
    if constexpr (packed_tiles[Planes - 1] >= 6) {
        if (tokens == 5) return packed_tile_of<Planes, 5>(p, block, row, index, part, out);
        return packed_tile_of<Planes, 6>(p, block, row, index, part, out);
    }
}

// values [tokens][step], with what is to be added, to the results of rows from `first` on
void store_results(const PackedProduct& p, int64_t token, int64_t tokens, int64_t first,
                   int64_t step, const float* values) {
    const int64_t count = p.rows - first < step ? p.rows - first : step;
    for (int64_t t = token; t < token + tokens; t++, values += step) {
        const int64_t at = t * p.rows + first;
        for (int64_t i = 0; i < count; i += lanes) {
            const int64_t n = count - i;
            V y = vload(values + i);
            if (p.bias) y = vadd(y, load_up_to(p.bias + first + i, n));
            if (p.residual) y = vadd(load_up_to(p.residual + at + i, n), y);
            n >= lanes ? vstore(p.out + at + i, y) : vstore_n(p.out + at + i, y, n);
        }
    }
}

// The groups of inputs that count as such here, and how many of them a part of tile `index` has.
int64_t groups_of(const PackedProduct& p) {
    if (p.format.quantized()) return p.format.groups(p.inputs);
    return (p.inputs + float_group - 1) / float_group;
}
int64_t part_of(const PackedProduct& p, int64_t index, int64_t step) {
    const bool in_parts = index == 0 && step < packed_rows && !p.format.centred();
    return in_parts ? packed_part : groups_of(p);
}

void packed_block(const PackedProduct& p, int64_t number) {
    const int64_t bytes = p.format.block_bytes(p.inputs), groups = groups_of(p);
    const int64_t tiles = (p.tokens + packed_tile(p) - 1) / packed_tile(p);
    const uint8_t* block = p.weight + number * bytes;
    if (p.expanded) expand_block(p, block);
    for (int64_t index = 0; index < tiles; index++) {
        const int64_t token = index * packed_tile(p), tokens = tile_tokens(p, index);
        const int64_t step = rows_of(p, index, tokens), count = part_of(p, index, step);
        alignas(64) float values[packed_tiles[0] * packed_rows];
        Part part{0, 0};
        do {
            part = {part.end, part.end + count < groups ? part.end + count : groups};
            for (int64_t row = 0; row < packed_rows; row += step) {
                const int64_t first = number * packed_rows + row;
                if (first >= p.rows) break;
                if (part.begin == 0) prefetch_results(p, token, tokens, first, step);
                float* results = values + row * tokens;
                if (p.format.planes == 2)
                    packed_tile_any<2>(tokens, p, block, row, index, part, results);
                else
                    packed_tile_any<1>(tokens, p, block, row, index, part, results);
                if (part.end == groups) store_results(p, token, tokens, first, step, results);
            }
        } while (part.end < groups);
        if (p.expanded) ask_for(block + bytes + bytes * index / tiles, bytes / tiles);
    }
}

const kernels::PackedCore packed_core{{packed_tiles[0], packed_tiles[1], packed_tiles[2]},
                                      packed_expands,
                                      packed_quantize,
                                      packed_block};
