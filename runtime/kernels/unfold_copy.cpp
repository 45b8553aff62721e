#include <cinttypes>

#include "movement.h"

namespace penlight::kernels {

// Windows of `size` along a dimension, `step` apart; the window is the new last dimension.
static Status unfold_copy_out(Context& ctx, const Tensor& self, int64_t dimension, int64_t size,
                              int64_t step, Tensor& out) {
    if (self.rank == max_rank) return ctx.fail("expected rank < %d but got it", max_rank);
    int32_t d;
    PENLIGHT_TRY(wrap_dim(ctx, dimension, self.rank, &d));
    const int64_t whole = self.rank == 0 ? 1 : self.sizes[d];
    if (size < 0 || size > whole) {
        return ctx.fail("expected size in [0, %" PRId64 "] but got %" PRId64, whole, size);
    }
    if (step <= 0) return ctx.fail("expected step > 0 but got %" PRId64, step);
    View v = view_of(self);
    if (self.rank == 0) {
        v.insert(0, size, 1);
        return copy_view(ctx, v, out);
    }
    const int64_t stride = v.strides[d];
    v.sizes[d] = (whole - size) / step + 1;
    v.strides[d] = v.sizes[d] > 1 ? stride * step : 0;
    v.insert(v.rank, size, stride);
    return copy_view(ctx, v, out);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(unfold_copy_out)
