#include <utility>

#include "movement.h"

namespace penlight::kernels {

// out[i[dims[0]], i[dims[1]], ...] order: dimension d of out is dimension dims[d] of self.
static Status permute_copy_out(Context& ctx, const Tensor& self, IntList dims, Tensor& out) {
    if (dims.size() != static_cast<uint32_t>(self.rank)) {
        return ctx.fail("expected %d dims but got %u", self.rank, dims.size());
    }
    uint32_t mask;
    PENLIGHT_TRY(wrap_dims(ctx, dims, self.rank, &mask));
    View v = view_of(self);
    for (int32_t d = 0; d < self.rank; d++) {
        int32_t from;
        PENLIGHT_TRY(wrap_dim(ctx, dims[static_cast<uint32_t>(d)], self.rank, &from));
        v.sizes[d] = self.sizes[from];
        v.strides[d] = self.strides[from];
    }
    return copy_view(ctx, v, out);
}

static Status transpose_copy_out(Context& ctx, const Tensor& self, int64_t dim0, int64_t dim1,
                                 Tensor& out) {
    int32_t a, b;
    PENLIGHT_TRY(wrap_dim(ctx, dim0, self.rank, &a));
    PENLIGHT_TRY(wrap_dim(ctx, dim1, self.rank, &b));
    View v = view_of(self);
    if (self.rank > 0) {
        std::swap(v.sizes[a], v.sizes[b]);
        std::swap(v.strides[a], v.strides[b]);
    }
    return copy_view(ctx, v, out);
}

static Status t_copy_out(Context& ctx, const Tensor& self, Tensor& out) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 0, 2));
    return transpose_copy_out(ctx, self, 0, self.rank < 2 ? 0 : 1, out);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(permute_copy_out)
PENLIGHT_DEFINE_KERNEL(transpose_copy_out)
PENLIGHT_DEFINE_KERNEL(t_copy_out)
