#include "movement.h"

namespace penlight::kernels {

static Status alias_copy_out(Context& ctx, const Tensor& self, Tensor& out) {
    return copy_same_shape(ctx, self, out);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(alias_copy_out)
