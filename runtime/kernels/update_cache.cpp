// penlight::update_cache: write new tokens' keys or values into the cache.
#include <algorithm>
#include <cstring>
#include <limits>

#include "cache.h"

namespace penlight::kernels {
namespace {

// New tokens of one cache head: `count` rows of `dim` numbers, `stride` numbers apart, and where
// they go, one behind the other.
struct Rows {
    const std::byte* from;
    std::byte* to;
    int64_t count, stride, dim;
};

}  // namespace
}  // namespace penlight::kernels

#define PENLIGHT_TARGET_FLOAT_ONLY
#define PENLIGHT_TARGET_SOURCE "update_cache.simd.h"
#include "simd/for_each_target.h"

namespace penlight::kernels {
namespace {

// Through float: exact for every pair of floating types but those with double.
void convert(const Rows& rows, int32_t from, int32_t to) {
    const Compute c =
        from == PENLIGHT_DOUBLE || to == PENLIGHT_DOUBLE ? Compute::f64 : Compute::f32;
    const LoadFunction load = load_function(c, from);
    const StoreFunction store = store_function(c, to);
    const auto from_item = static_cast<int64_t>(item_size(from)),
               to_item = static_cast<int64_t>(item_size(to));
    constexpr int64_t block = 512;
    alignas(64) double numbers[block];
    for (int64_t r = 0; r < rows.count; r++)
        for (int64_t d = 0; d < rows.dim; d += block) {
            const int64_t n = rows.dim - d < block ? rows.dim - d : block;
            load(rows.from + (r * rows.stride + d) * from_item, 1, n, numbers);
            store(numbers, 1, n, rows.to + (r * rows.dim + d) * to_item);
        }
}

Status check(Context& ctx, const Tensor& cache, const Tensor& value, const Tensor& out) {
    if (cache.rank != 4 || value.rank != 4 || cache.size(0) != 1 || value.size(0) != 1 ||
        cache.size(1) != value.size(2) || cache.size(3) != cache_row(cache.dtype, value.size(3)))
        return ctx.fail(
            "expected a cache [1, G, S, D], or [1, G, S, D + 4] of int8, and values [1, T, G, D]; "
            "export the model again");
    const bool bytes = cache.dtype == PENLIGHT_INT8 && value.dtype == PENLIGHT_FLOAT;
    if ((!is_floating(cache.dtype) && !bytes) || !is_floating(value.dtype) ||
        out.dtype != cache.dtype)
        return ctx.fail(
            "expected a floating-point cache, or one of int8 with float32 values, and a result "
            "like it but got %s, %s and %s",
            dtype_name(cache.dtype), dtype_name(value.dtype), dtype_name(out.dtype));
    return Status::ok;
}

// out is the cache with value at input_pos[0] .. + T - 1, and usually the cache's own memory.
Status update_cache_out(Context& ctx, const Tensor& cache, const Tensor& value,
                        const Tensor& input_pos, Tensor& out) {
    PENLIGHT_TRY(check(ctx, cache, value, out));
    const int64_t tokens = value.size(1), heads = value.size(2), dim = value.size(3),
                  capacity = cache.size(2), width = cache.size(3);
    int64_t start = 0;
    PENLIGHT_TRY(cache_start(ctx, input_pos, tokens, capacity, &start));
    PENLIGHT_TRY(resize_like(ctx, out, cache));
    if (!cache.contiguous() || !value.contiguous() || !out.contiguous())
        return ctx.fail("expected contiguous tensors; make contiguous copies first");
    const auto item = static_cast<int64_t>(item_size(out.dtype)),
               from_item = static_cast<int64_t>(item_size(value.dtype));
    auto* to = static_cast<std::byte*>(out.data);
    if (out.data != cache.data) memcpy(to, cache.data, static_cast<size_t>(cache.numel() * item));
    if (value.numel() == 0) return Status::ok;
    auto* write = value.dtype != PENLIGHT_FLOAT ? nullptr
                  : out.dtype == PENLIGHT_INT8  ? PENLIGHT_SELECT_FLOAT(ctx.isa, write_bytes)
                  : out.dtype == PENLIGHT_HALF  ? PENLIGHT_SELECT_FLOAT(ctx.isa, write_halves)
                                                : nullptr;
    ctx.parallel_for(tokens * heads, 1 << 10, [&](int64_t begin, int64_t end) {
        while (begin < end) {
            const int64_t head = begin / tokens, token = begin % tokens;
            const int64_t count = std::min(end - begin, tokens - token);
            const Rows rows{static_cast<const std::byte*>(value.data) +
                                (token * heads + head) * dim * from_item,
                            to + (head * capacity + start + token) * width * item, count,
                            heads * dim, dim};
            write ? write(rows) : convert(rows, value.dtype, out.dtype);
            begin += count;
        }
    });
    return Status::ok;
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(update_cache_out)
