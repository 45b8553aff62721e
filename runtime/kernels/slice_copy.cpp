#include <cinttypes>

#include "movement.h"

namespace penlight::kernels {

static Status slice_copy_out(Context& ctx, const Tensor& self, int64_t dim,
                             std::optional<int64_t> start, std::optional<int64_t> end, int64_t step,
                             Tensor& out) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 1, max_rank));
    int32_t d;
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank, &d));
    Slice slice;
    PENLIGHT_TRY(resolve_slice(ctx, self.sizes[d], start, end, step, &slice));
    View v = view_of(self);
    v.move(slice.length > 0 ? slice.start * v.strides[d] : 0);
    v.sizes[d] = slice.length;
    v.strides[d] = slice.length > 1 ? v.strides[d] * slice.step : 0;
    return copy_view(ctx, v, out);
}

static Status narrow_copy_out(Context& ctx, const Tensor& self, int64_t dim, int64_t start,
                              int64_t length, Tensor& out) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 1, max_rank));
    int32_t d;
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank, &d));
    const int64_t size = self.sizes[d];
    const int64_t first = start < 0 ? start + size : start;
    if (first < 0 || first > size || length < 0 || length > size - first) {
        return ctx.fail("expected start + length within size %" PRId64 " but got %" PRId64
                        " + %" PRId64,
                        size, start, length);
    }
    View v = view_of(self);
    v.move(first * v.strides[d]);
    v.sizes[d] = length;
    return copy_view(ctx, v, out);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(slice_copy_out)
PENLIGHT_DEFINE_KERNEL(narrow_copy_out)
