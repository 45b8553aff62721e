// penlight::embedding: rows of a packed matrix (packed.h) as float, so that a tied head and its
// embedding are one matrix in the file.
#include <algorithm>

#include "packed.h"

namespace penlight::kernels {
namespace {

float load_scale(const uint8_t* p, int size, int64_t i) {
    if (size == 1) return p[i];
    if (size == 4) return reinterpret_cast<const float*>(p)[i];
    return half_to_float(reinterpret_cast<const uint16_t*>(p)[i]);
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
    const float* units = reinterpret_cast<const float*>(block);
    const float unit = f.nested() ? units[row] : 1;
    const float minimum_unit = f.nested() ? units[packed_rows + row] : 1;
    block += f.head_bytes();
    for (int64_t first = 0; first < inputs; first += f.group, block += f.group_bytes()) {
        const uint8_t* scales = block + f.quant_bytes();
        const float scale = load_scale(scales, f.scale_size, row) * unit;
        float minimum = 0;
        if (f.minimum)
            minimum = load_scale(scales + f.scale_bytes(), f.scale_size, row) * minimum_unit;
        const int64_t count = std::min<int64_t>(f.group, inputs - first);
        for (int64_t i = 0; i < count; i++) {
            int quant;
            if (f.bits == 8) {
                quant = block[(i / 4 * packed_rows + row) * 4 + i % 4];
            } else {
                int byte = block[(i / 8 * packed_rows + row) * 4 + i % 4];
                quant = i % 8 < 4 ? byte & 15 : byte >> 4;
            }
            // A statement of its own, so that no compiler fuses the product and the sum.
            const float product = scale * (static_cast<float>(quant) - zero);
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
        return ctx.fail("expected a known format and a positive width but got \"%.*s\" and %lld",
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
