// penlight::embedding: rows of a packed matrix (packed.h) as float, so that a tied head and its
// embedding are one matrix in the file.
#include <algorithm>

#include "packed.h"

namespace penlight::kernels {
namespace {

// A scale or a minimum; units: of its run of inputs, where there are any.
float load_scale(const uint8_t* p, int size, int64_t i, const uint8_t* units) {
    if (size == 4) return reinterpret_cast<const float*>(p)[i];
    if (size == 2) return half_to_float(reinterpret_cast<const uint16_t*>(p)[i]);
    return static_cast<float>(reinterpret_cast<const int8_t*>(p)[i]) * load_scale(units, 2, i, p);
}

// The code of input i of a group.
int code_at(const PackedFormat& f, const uint8_t* quants, int64_t row, int64_t i) {
    if (f.bits == 8) return quants[(i / 4 * packed_rows + row) * 4 + i % 4];
    const int byte = quants[(i / 8 * packed_rows + row) * 4 + i % 4];
    const int lower = i % 8 < 4 ? byte & 15 : byte >> 4;
    if (f.bits == 4) return lower;
    const uint8_t* upper = quants + packed_rows * f.group / 2;
    return lower | (upper[(i / 16 * packed_rows + row) * 4 + i % 4] >> i % 16 / 4 * 2 & 3) << 4;
}

// to[count] = a row's weights of one group of q4g32c; head: of its block.
void unpack_centred(const PackedFormat& f, const uint8_t* head, const uint8_t* group, int64_t row,
                    int64_t count, float* to) {
    const float unit = reinterpret_cast<const float*>(head)[row];
    const int shift = reinterpret_cast<const int32_t*>(head)[packed_rows + row] & 7;
    const uint8_t* scales = group + f.quant_bytes();
    const int centre = static_cast<int8_t>(scales[packed_rows + row]) * (1 << shift);
    for (int64_t i = 0; i < count; i++)
        to[i] = unit * static_cast<float>(scales[row] * (code_at(f, group, row, i) - 8) + centre);
}

// to[inputs] = row of a block
void unpack_row(const PackedFormat& f, const uint8_t* block, int64_t row, int64_t inputs,
                float* to) {
    if (!f.quantized()) {
        const LoadFunction load = load_function(Compute::f32, f.dtype);
        load(block + row * (f.bits / 8), packed_rows, inputs, to);
        return;
    }
    const float zero = static_cast<float>(f.zero());
    const uint8_t* group = block + f.head_bytes(inputs);
    for (int64_t first = 0; first < inputs; first += f.group, group += f.group_bytes()) {
        const int64_t count = std::min<int64_t>(f.group, inputs - first);
        if (f.centred()) {
            unpack_centred(f, block, group, row, count, to + first);
            continue;
        }
        const uint8_t* scales = group + f.quant_bytes();
        const uint8_t* units = block + first / packed_run * packed_rows * 2;
        const float scale = load_scale(scales, f.scale_size, row, units);
        const float minimum = f.minimum ? load_scale(scales + f.scale_bytes(), f.scale_size, row,
                                                     units + f.unit_bytes(inputs))
                                        : 0;
        for (int64_t i = 0; i < count; i++) {
            // A statement of its own, so that no compiler fuses the product and the sum.
            const float product = scale * (static_cast<float>(code_at(f, group, row, i)) - zero);
            to[first + i] = product + minimum;
        }
    }
}

Status packed_embedding_out(Context& ctx, const Tensor& tokens, const Tensor& weight,
                            std::string_view format, int64_t dim, Tensor& out) {
    if (tokens.dtype != PENLIGHT_INT64 || out.dtype != PENLIGHT_FLOAT || !tokens.contiguous() ||
        tokens.rank >= PENLIGHT_MAX_RANK)
        return ctx.fail("expected contiguous int64 tokens and a float32 result but got %s and %s",
                        dtype_name(tokens.dtype), dtype_name(out.dtype));
    PackedFormat f;
    if (weight.rank != 1)
        return ctx.fail("expected packed weights of rank 1 but got %d", weight.rank);
    if (!parse_packed(format, &f) || dim < 1 || f.nbytes(1, dim) < 1)
        return ctx.fail(
            "expected a known format and a positive width but got \"%.*s\" and %lld; export the "
            "model again",
            static_cast<int>(std::min<size_t>(format.size(), 32)), format.data(),
            static_cast<long long>(dim));
    const int64_t block_bytes = f.block_bytes(dim);
    const int64_t rows = weight.size(0) / block_bytes * packed_rows;
    PENLIGHT_TRY(check_packed(ctx, weight, format, rows, dim, &f));
    int64_t sizes[PENLIGHT_MAX_RANK];
    std::copy_n(tokens.sizes, tokens.rank, sizes);
    sizes[tokens.rank] = dim;
    PENLIGHT_TRY(resize(ctx, out, tokens.rank + 1, sizes));
    if (!out.contiguous()) return ctx.fail("expected a contiguous result; export the model again");
    const int64_t count = tokens.numel();
    const int64_t* token = tokens.ptr<int64_t>();
    for (int64_t i = 0; i < count; i++) {
        if (token[i] < 0 || token[i] >= rows)
            return ctx.fail(
                "expected a token from 0 to %lld but got %lld; was the text tokenized "
                "for another model?",
                static_cast<long long>(rows - 1), static_cast<long long>(token[i]));
        unpack_row(f, weight.ptr<uint8_t>() + token[i] / packed_rows * block_bytes,
                   token[i] % packed_rows, dim, out.ptr<float>() + i * dim);
    }
    return Status::ok;
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(packed_embedding_out)
