// Packed weights: one layout that every instruction set reads in place, straight from the file.
//
//   PackedFormat f;
//   if (!parse_packed("q4g32", &f)) ...            // 4 bits, groups of 32 inputs, fp16 scales
//   int64_t bytes = f.nbytes(rows, inputs);        // -1 on overflow
//
// Formats: q<bits>g<group>[m][.f32|.k][.a16] with bits 4, 6 or 8 and group 16 or 32; "m" adds a
// minimum to each group; scales and minimums are fp16, or fp32 with ".f32"; with ".k", as in GGUF's
// K kinds, they are bytes, in units that 256 inputs of a row share. q4g32c: with a centre in each
// group; scales and centres are bytes. And f32, f16, bf16.
//
// Activations that meet quantised weights are rounded, by groups of the same size, to q * s. With
// weights of 6 or 8 bits s makes the largest |q| 127. With weights of 4 bits it is the least power
// of two that keeps |q| <= 127 (MXINT8, but for the group): scaling then is exact, and costs no
// multiplication. With ".a16", which leaves the weights' bytes as they are, it is that which keeps
// |q| <= 16256 = 127 * 128: then q = 128 * high + low with both in int8, and their dot products
// with the weights, summed apart, are put together before they are scaled. All of this is exact in
// int32: |sum| <= 32 * 255 * 16256 < 2^27 per group.
//
// With q4g32c two groups next to each other share the s that makes their largest |q| 127. Their dot
// products with codes less 8, |d| <= 32 * 8 * 127 < 2^15, and the sums of their activations,
// |a| <= 32 * 127, meet their scales and centres as pairs of 16-bit integers: the sum
// scale0 * d0 + scale1 * d1 + centre0 * a0 + centre1 * a1, exact and below 2^28, is scaled at once.
//
// Many tokens at once may meet other weights, where that is faster (PackedCore::expands): those of
// a row, by runs of expanded_run inputs, rounded to one of 255 steps up to the largest magnitude
// that the run's scales and centres allow.
//
// Rows (outputs) come in blocks of 32, the last one filled up; inputs are filled up to whole
// groups. Fillers have the value zero. A block of a quantised format is
//     units    [32 rows]       of q4g32c: fp32; with ".k" [1 or 2][runs of 256 inputs][32 rows]:
//                              fp16 of scales, then of minimums
//     shifts   [32 rows]       of q4g32c: int32, 0 to 7
// then for each group of inputs
//     quants   [group * bits / 32][32 rows][4 bytes]; of 6 bits the lower four of all, as of 4
//              bits, then the upper two
//     scales   [32 rows]       of q4g32c: uint8; with ".k": int8
//     minimums [32 rows]       with "m"; of q4g32c, centres: int8; with ".k": int8
// where the four bytes of a row hold, for 8 bits, inputs 4c .. 4c+3, and for 4 bits, in their low
// nibbles inputs 8c .. 8c+3 and in their high nibbles inputs 8c+4 .. 8c+7 (c: the first index); for
// upper bits, in bits 2k and 2k+1 those of inputs 16c+4k .. 16c+4k+3.
// A weight is scale * (quant - zero) + minimum, with zero 128 for 8 bits, 32 for 6, 8 for 4, and 0
// for 4 and 6 bits with minimums; of q4g32c it is unit * (scale * (quant - 8) + centre * 2^shift).
// A block of a float format is [inputs][32 rows]. The same facts in Python are in
// penlight/edge/packed.py.
#pragma once

#include "dtype.h"

namespace penlight::kernels {

inline constexpr int64_t packed_rows = 32;
inline constexpr int64_t packed_run = 256;  // inputs that share a unit with ".k"

struct PackedFormat {
    int bits;   // 4, 6 or 8; 16 or 32 for float formats
    int group;  // inputs that share a scale; 1 for float formats
    bool minimum;
    int scale_size;     // bytes of a scale, minimum or centre: 1, 2 or 4; 0 for float formats
    int32_t dtype;      // of a float format, else PENLIGHT_UINT8
    int planes;         // int8 numbers of an activation: 1, or 2 with ".a16"
    bool runs = false;  // ".k": scales are bytes in units of packed_run inputs

    bool quantized() const { return dtype == PENLIGHT_UINT8; }
    bool centred() const { return scale_size == 1 && !runs; }  // q4g32c
    int zero() const { return bits == 8 ? 128 : minimum ? 0 : 1 << (bits - 1); }
    int64_t groups(int64_t inputs) const { return inputs / group + (inputs % group != 0); }
    int64_t quant_bytes() const { return packed_rows * group * bits / 8; }
    int64_t scale_bytes() const { return packed_rows * scale_size; }
    int64_t group_bytes() const {
        return quant_bytes() + scale_bytes() * (minimum || centred() ? 2 : 1);
    }
    // Of the units of scales, as many again of those of minimums.
    int64_t unit_bytes(int64_t inputs) const {
        return (inputs / packed_run + (inputs % packed_run != 0)) * packed_rows * 2;
    }
    int64_t head_bytes(int64_t inputs) const {
        return centred() ? 2 * packed_rows * 4 : runs ? unit_bytes(inputs) * (minimum ? 2 : 1) : 0;
    }
    int64_t block_bytes(int64_t inputs) const {
        return head_bytes(inputs) + groups(inputs) * group_bytes();
    }
    // How products are made: 0 from one plane, 1 from two, 2 from pairs of groups.
    int kind() const { return centred() ? 2 : planes == 2; }
    int64_t nbytes(int64_t rows, int64_t inputs) const;
};

bool parse_packed(std::string_view text, PackedFormat* format);
Status check_packed_format(Context& ctx, std::string_view text, PackedFormat* format);
// Checks the format string, and that weight (uint8 [nbytes]) holds rows x inputs in it.
Status check_packed(Context& ctx, const Tensor& weight, std::string_view text, int64_t rows,
                    int64_t inputs, PackedFormat* format);

// ---- the vector code's view of one product ----

struct PackedProduct {
    PackedFormat format;
    const uint8_t* weight;
    const float* x;         // [tokens][inputs]
    const float* bias;      // [rows] or null
    const float* residual;  // [tokens][rows], what the results are added to, or null
    float* out;             // [tokens][rows]
    std::byte* quantized;   // activations, see PackedCore::quantize
    int64_t tokens, inputs, rows;
    bool prefetch;        // ask for weights ahead
    std::byte* expanded;  // where a block's weights are written as bytes, or null: they are not
};

struct PackedCore {
    int tile[3];   // tokens that are computed together: tile[PackedFormat::kind()]
    bool expands;  // q4g32c: whether bytes are multiplied as fast as nibbles
    // Quantises tile number `index` of the activations by groups.
    void (*quantize)(const PackedProduct& p, int64_t index);
    // All tokens' outputs of one block of rows.
    void (*block)(const PackedProduct& p, int64_t block);
};
const PackedCore* packed_core_of(Isa isa);  // packed_linear.cpp
// Tokens that repay writing bytes.
inline constexpr int64_t expand_tokens = 64;
// Inputs whose weights, in a row, share the scale of their bytes.
inline constexpr int64_t expanded_run = 256;
// Bytes of PackedProduct::expanded, a multiple of 64.
inline int64_t expanded_bytes(int64_t inputs) {
    const int64_t runs = (inputs + expanded_run - 1) / expanded_run;
    return packed_rows * (runs * int64_t{sizeof(float)} + (inputs + 63) / 64 * 64);
}
// Bytes of one token's quantised activations: the int8 planes, and for each group the scale, the
// correction for the weights' zero, and the scaled sum; for each pair of groups of q4g32c the
// scale, two corrections and two sums of 16 bits.
inline int64_t quantized_token_bytes(const PackedFormat& f, int64_t inputs) {
    if (f.centred()) return (f.groups(inputs) + 1) / 2 * (2 * f.group + 16);
    return f.groups(inputs) * (f.planes * f.group + 12);
}

}  // namespace penlight::kernels
