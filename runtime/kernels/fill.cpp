// Tensors made of one number. Their dtype is that which `out` has.
#include "elementwise.h"

namespace penlight::kernels {

static Status set_shape(Context& ctx, const IntList& size, Tensor& out) {
    if (size.size() > max_rank) {
        return ctx.fail("expected at most %d dims but got %u", max_rank, size.size());
    }
    int64_t sizes[max_rank];
    for (uint32_t d = 0; d < size.size(); d++) sizes[d] = size[d];
    return resize(ctx, out, static_cast<int32_t>(size.size()), sizes);
}

static Status full_out(Context& ctx, IntList size, Scalar fill_value, Tensor& out) {
    PENLIGHT_TRY(set_shape(ctx, size, out));
    return fill_with(ctx, fill_value, out);
}
static Status full_like_out(Context& ctx, const Tensor& self, Scalar fill_value,
                            std::optional<int64_t>, Tensor& out) {
    PENLIGHT_TRY(resize_like(ctx, out, self));
    return fill_with(ctx, fill_value, out);
}
static Status zeros_out(Context& ctx, IntList size, Tensor& out) {
    return full_out(ctx, size, int_scalar(0), out);
}
static Status ones_out(Context& ctx, IntList size, Tensor& out) {
    return full_out(ctx, size, int_scalar(1), out);
}
static Status fill_Scalar_out(Context& ctx, const Tensor& self, Scalar value, Tensor& out) {
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    PENLIGHT_TRY(resize_like(ctx, out, self));
    return fill_with(ctx, value, out);
}
static Status fill_Tensor_out(Context& ctx, const Tensor& self, const Tensor& value, Tensor& out) {
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    PENLIGHT_TRY(expect_rank(ctx, "value", value, 0, 0));
    PENLIGHT_TRY(resize_like(ctx, out, self));
    return cast_into(ctx, value, out);
}
static Status scalar_tensor_out(Context& ctx, Scalar s, Tensor& out) {
    PENLIGHT_TRY(resize(ctx, out, 0, nullptr));
    return fill_with(ctx, s, out);
}

// The elements are whatever the memory held.
static Status empty_out(Context& ctx, IntList size, std::optional<int64_t>, Tensor& out) {
    return set_shape(ctx, size, out);
}
static Status _empty_dim_order_out(Context& ctx, IntList size, std::optional<IntList>,
                                   Tensor& out) {
    return set_shape(ctx, size, out);
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(full_out)
PENLIGHT_DEFINE_KERNEL(full_like_out)
PENLIGHT_DEFINE_KERNEL(zeros_out)
PENLIGHT_DEFINE_KERNEL(ones_out)
PENLIGHT_DEFINE_KERNEL(fill_Scalar_out)
PENLIGHT_DEFINE_KERNEL(fill_Tensor_out)
PENLIGHT_DEFINE_KERNEL(scalar_tensor_out)
PENLIGHT_DEFINE_KERNEL(empty_out)
PENLIGHT_DEFINE_KERNEL(_empty_dim_order_out)
