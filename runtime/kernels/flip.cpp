#include "movement.h"

namespace penlight::kernels {

static Status flip_out(Context& ctx, const Tensor& self, IntList dims, Tensor& out) {
    uint32_t mask;
    PENLIGHT_TRY(wrap_dims(ctx, dims, self.rank, &mask));
    View v = view_of(self);
    for (int32_t d = 0; d < self.rank; d++) {
        if (!(mask >> d & 1) || v.sizes[d] == 0) continue;
        v.move((v.sizes[d] - 1) * v.strides[d]);
        v.strides[d] = -v.strides[d];
    }
    return copy_view(ctx, v, out);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(flip_out)
