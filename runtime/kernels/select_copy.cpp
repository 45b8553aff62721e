#include "movement.h"

namespace penlight::kernels {

static Status select_copy_out(Context& ctx, const Tensor& self, int64_t dim, int64_t index,
                              Tensor& out) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 1, max_rank));
    int32_t d;
    int64_t i;
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank, &d));
    PENLIGHT_TRY(wrap_index(ctx, index, self.sizes[d], &i));
    View v = view_of(self);
    v.move(i * v.strides[d]);
    v.erase(d);
    return copy_view(ctx, v, out);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(select_copy_out)
