#include <cinttypes>

#include "movement.h"

namespace penlight::kernels {

// Writes the element at `value` over the region's part [start, start + length) of dim d.
static void fill_slab(Context& ctx, const std::byte* value, View region, int32_t d, int64_t start,
                      int64_t length) {
    if (length <= 0) return;
    View constant = region;
    constant.data = value;
    constant.sizes[d] = length;
    for (int32_t k = 0; k < region.rank; k++) constant.strides[k] = 0;
    region.move(start * region.strides[d]);
    write_region(ctx, constant, region);
}

// pad = [last dim's left, right, then the one before's, ...]; negative amounts crop.
static Status constant_pad_nd_out(Context& ctx, const Tensor& self, IntList pad, Scalar value,
                                  Tensor& out) {
    if (pad.size() % 2 != 0 || pad.size() / 2 > static_cast<uint32_t>(self.rank)) {
        return ctx.fail("expected at most %d pairs of padding but got %u numbers", self.rank,
                        pad.size());
    }
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    const int32_t first = self.rank - static_cast<int32_t>(pad.size() / 2);
    int64_t sizes[max_rank], left[max_rank] = {};
    View from = view_of(self);
    for (int32_t d = 0; d < self.rank; d++) {
        sizes[d] = self.sizes[d];
        if (d < first) continue;
        const uint32_t at = static_cast<uint32_t>(2 * (self.rank - 1 - d));
        const int64_t right = pad[at + 1];
        left[d] = pad[at];
        if (__builtin_add_overflow(sizes[d], left[d], &sizes[d]) ||
            __builtin_add_overflow(sizes[d], right, &sizes[d]) || sizes[d] < 0) {
            return ctx.fail("expected padding that leaves a size >= 0 of dim %d but got %" PRId64
                            " and %" PRId64,
                            d, left[d], right);
        }
        const int64_t crop = left[d] < 0 ? -left[d] : 0;
        const int64_t kept = self.sizes[d] - crop + (right < 0 ? right : 0);
        from.sizes[d] = kept < 0 ? 0 : kept;
        if (kept > 0) from.move(crop * from.strides[d]);
        if (left[d] < 0) left[d] = 0;
    }
    PENLIGHT_TRY(resize(ctx, out, self.rank, sizes));
    if (out.numel() == 0) return Status::ok;
    alignas(8) std::byte element[8];
    store_scalar(value, out.dtype, element);
    View inside = view_of(out);
    for (int32_t d = first; d < self.rank; d++) {
        const int64_t end = left[d] + from.sizes[d];
        fill_slab(ctx, element, inside, d, 0, from.sizes[d] == 0 ? sizes[d] : left[d]);
        if (from.sizes[d] == 0) return Status::ok;
        fill_slab(ctx, element, inside, d, end, sizes[d] - end);
        inside.move(left[d] * inside.strides[d]);
        inside.sizes[d] = from.sizes[d];
    }
    write_region(ctx, from, inside);
    return Status::ok;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(constant_pad_nd_out)
