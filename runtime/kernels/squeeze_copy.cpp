#include "movement.h"

namespace penlight::kernels {

// Drops the dimensions of size 1 among those in the mask.
static Status squeeze(Context& ctx, const Tensor& self, uint32_t mask, Tensor& out) {
    View v = view_of(self);
    for (int32_t d = self.rank - 1; d >= 0; d--) {
        if ((mask >> d & 1) && v.sizes[d] == 1) v.erase(d);
    }
    return copy_view(ctx, v, out);
}

static Status squeeze_copy_out(Context& ctx, const Tensor& self, Tensor& out) {
    return squeeze(ctx, self, ~uint32_t{0}, out);
}

static Status squeeze_copy_dim_out(Context& ctx, const Tensor& self, int64_t dim, Tensor& out) {
    int32_t d;
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank, &d));
    return squeeze(ctx, self, uint32_t{1} << d, out);
}

static Status squeeze_copy_dims_out(Context& ctx, const Tensor& self, IntList dims, Tensor& out) {
    uint32_t mask;
    PENLIGHT_TRY(wrap_dims(ctx, dims, self.rank, &mask));
    return squeeze(ctx, self, mask, out);
}

static Status unsqueeze_copy_out(Context& ctx, const Tensor& self, int64_t dim, Tensor& out) {
    if (self.rank == max_rank) return ctx.fail("expected rank < %d but got it", max_rank);
    int32_t d;
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank + 1, &d));
    View v = view_of(self);
    v.insert(d, 1, 0);
    return copy_view(ctx, v, out);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(squeeze_copy_out)
PENLIGHT_DEFINE_KERNEL(squeeze_copy_dim_out)
PENLIGHT_DEFINE_KERNEL(squeeze_copy_dims_out)
PENLIGHT_DEFINE_KERNEL(unsqueeze_copy_out)
