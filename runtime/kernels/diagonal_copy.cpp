#include <cinttypes>

#include "movement.h"

namespace penlight::kernels {

// The diagonal of dims (dim1, dim2) becomes the last dimension; offset > 0 lies above the main one.
static Status diagonal(Context& ctx, const Tensor& self, int64_t offset, int64_t dim1, int64_t dim2,
                       View* view) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 2, max_rank));
    int32_t a, b;
    PENLIGHT_TRY(wrap_dim(ctx, dim1, self.rank, &a));
    PENLIGHT_TRY(wrap_dim(ctx, dim2, self.rank, &b));
    if (a == b) return ctx.fail("expected two different dims but got %d twice", a);
    View v = view_of(self);
    const int64_t rows = v.sizes[a], columns = v.sizes[b], step = v.strides[a] + v.strides[b];
    int64_t length = 0;
    if (offset >= 0 && offset < columns) {
        length = columns - offset < rows ? columns - offset : rows;
        if (length > 0) v.move(offset * v.strides[b]);
    } else if (offset < 0 && offset > -rows) {
        length = rows + offset < columns ? rows + offset : columns;
        if (length > 0) v.move(-offset * v.strides[a]);
    }
    v.erase(a > b ? a : b);
    v.erase(a > b ? b : a);
    v.insert(v.rank, length, step);
    *view = v;
    return Status::ok;
}

static Status diagonal_copy_out(Context& ctx, const Tensor& self, int64_t offset, int64_t dim1,
                                int64_t dim2, Tensor& out) {
    View v;
    PENLIGHT_TRY(diagonal(ctx, self, offset, dim1, dim2, &v));
    return copy_view(ctx, v, out);
}

static Status diagonal_scatter_out(Context& ctx, const Tensor& self, const Tensor& src,
                                   int64_t offset, int64_t dim1, int64_t dim2, Tensor& out) {
    PENLIGHT_TRY(expect_dtype(ctx, "src", src, self.dtype));
    PENLIGHT_TRY(copy_same_shape(ctx, self, out));
    View region;
    PENLIGHT_TRY(diagonal(ctx, out, offset, dim1, dim2, &region));
    return write_checked(ctx, src, region);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(diagonal_copy_out)
PENLIGHT_DEFINE_KERNEL(diagonal_scatter_out)
