#include "movement.h"

namespace penlight::kernels {

static Status slice_scatter_out(Context& ctx, const Tensor& self, const Tensor& src, int64_t dim,
                                std::optional<int64_t> start, std::optional<int64_t> end,
                                int64_t step, Tensor& out) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 1, max_rank));
    int32_t d;
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank, &d));
    Slice slice;
    PENLIGHT_TRY(resolve_slice(ctx, self.sizes[d], start, end, step, &slice));
    PENLIGHT_TRY(copy_same_shape(ctx, self, out));
    View region = view_of(out);
    region.move(slice.length > 0 ? slice.start * region.strides[d] : 0);
    region.sizes[d] = slice.length;
    region.strides[d] = slice.length > 1 ? region.strides[d] * slice.step : 0;
    return write_checked(ctx, src, region);
}

static Status select_scatter_out(Context& ctx, const Tensor& self, const Tensor& src, int64_t dim,
                                 int64_t index, Tensor& out) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 1, max_rank));
    int32_t d;
    int64_t i;
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank, &d));
    PENLIGHT_TRY(wrap_index(ctx, index, self.sizes[d], &i));
    PENLIGHT_TRY(copy_same_shape(ctx, self, out));
    View region = view_of(out);
    region.move(i * region.strides[d]);
    region.erase(d);
    return write_checked(ctx, src, region);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(slice_scatter_out)
PENLIGHT_DEFINE_KERNEL(select_scatter_out)
