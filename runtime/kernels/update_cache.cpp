// penlight::update_cache: write new tokens' keys or values into the cache.
#include <cstring>
#include <limits>

#include "cache.h"

#define PENLIGHT_TARGET_FLOAT_ONLY
#define PENLIGHT_TARGET_SOURCE "update_cache.simd.h"
#include "simd/for_each_target.h"

namespace penlight::kernels {
namespace {

// cache [1, S, H, D], or of int8 rows, value [1, T, H, D]; out is the cache with value at
// input_pos[0] .. + T - 1, and usually the cache's own memory.
Status update_cache_out(Context& ctx, const Tensor& cache, const Tensor& value,
                        const Tensor& input_pos, Tensor& out) {
    if (cache.rank != 4 || value.rank != 4 || cache.size(0) != 1 || value.size(0) != 1 ||
        cache.size(2) != value.size(2) || cache.size(3) != cache_row(cache.dtype, value.size(3)))
        return ctx.fail(
            "expected a cache [1, S, H, D], or [1, S, H, D + 4] of int8, and values [1, T, H, D]; "
            "check the shapes");
    const bool bytes = cache.dtype == PENLIGHT_INT8 && value.dtype == PENLIGHT_FLOAT;
    if ((!is_floating(cache.dtype) && !bytes) || !is_floating(value.dtype) ||
        out.dtype != cache.dtype)
        return ctx.fail(
            "expected a floating-point cache, or one of int8 with float32 values, and a result "
            "like it but got %s, %s and %s",
            dtype_name(cache.dtype), dtype_name(value.dtype), dtype_name(out.dtype));
    int64_t start = 0;
    PENLIGHT_TRY(cache_start(ctx, input_pos, value.size(1), cache.size(1), &start));
    PENLIGHT_TRY(resize_like(ctx, out, cache));
    if (!cache.contiguous() || !value.contiguous() || !out.contiguous())
        return ctx.fail("expected contiguous tensors; make contiguous copies first");
    const int64_t width = cache.size(2) * cache.size(3),
                  item = static_cast<int64_t>(item_size(out.dtype));
    auto* to = static_cast<std::byte*>(out.data);
    if (out.data != cache.data) memcpy(to, cache.data, static_cast<size_t>(cache.numel() * item));
    if (width == 0) return Status::ok;
    if (bytes) {
        const int64_t dim = value.size(3);
        auto* rows = reinterpret_cast<int8_t*>(to) + start * width;
        auto* convert = PENLIGHT_SELECT_FLOAT(ctx.isa, floats_to_bytes);
        ctx.parallel_for(value.size(1) * value.size(2), 1 << 10, [&](int64_t begin, int64_t end) {
            convert(value.ptr<float>() + begin * dim, end - begin, dim,
                    rows + begin * cache_row(PENLIGHT_INT8, dim));
        });
        return Status::ok;
    }
    if (cache.dtype == PENLIGHT_HALF && value.dtype == PENLIGHT_FLOAT) {
        auto* halves = reinterpret_cast<uint16_t*>(to) + start * width;
        auto* convert = PENLIGHT_SELECT_FLOAT(ctx.isa, floats_to_halves);
        ctx.parallel_for(value.numel(), 1 << 16, [&](int64_t begin, int64_t end) {
            convert(value.ptr<float>() + begin, end - begin, halves + begin);
        });
        return Status::ok;
    }
    // Through float: exact for every pair of floating types but those with double.
    const Compute c = cache.dtype == PENLIGHT_DOUBLE || value.dtype == PENLIGHT_DOUBLE
                          ? Compute::f64
                          : Compute::f32;
    const LoadFunction load = load_function(c, value.dtype);
    const StoreFunction store = store_function(c, out.dtype);
    constexpr int64_t block = 512;
    alignas(64) double numbers[block];
    const int64_t count = value.numel();
    const int64_t from_item = static_cast<int64_t>(item_size(value.dtype));
    for (int64_t i = 0; i < count; i += block) {
        const int64_t n = count - i < block ? count - i : block;
        load(static_cast<const std::byte*>(value.data) + i * from_item, 1, n, numbers);
        store(numbers, 1, n, to + (start * width + i) * item);
    }
    return Status::ok;
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(update_cache_out)
