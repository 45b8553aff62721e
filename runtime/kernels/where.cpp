// where and masked_fill: a choice by a bool tensor.
#include "elementwise.h"

namespace penlight::kernels {

static constexpr PointwiseOp choice(PointwiseOp op) {
    op.modular = true;
    return op;
}
static constexpr PointwiseOp where_op =
    choice(generic<[](auto condition, auto a, auto b) { return condition != 0 ? a : b; }, 3>());
// p: the value
static constexpr PointwiseOp masked_fill_op =
    choice(generic<[](auto x, auto mask, const auto* p) { return mask != 0 ? p[0] : x; }, 2>());

static Status check_mask(Context& ctx, const Tensor& mask) {
    if (mask.dtype == PENLIGHT_BOOL) return Status::ok;
    return ctx.fail("expected a mask of bool but got %s", dtype_name(mask.dtype));
}

static Status where_self_out(Context& ctx, const Tensor& condition, const Tensor& self,
                             const Tensor& other, Tensor& out) {
    PENLIGHT_TRY(check_mask(ctx, condition));
    return pointwise(ctx, where_op, {condition, self, other}, out);
}

static Status masked_fill_Scalar_out(Context& ctx, const Tensor& self, const Tensor& mask,
                                     Scalar value, Tensor& out) {
    PENLIGHT_TRY(check_mask(ctx, mask));
    return pointwise(ctx, masked_fill_op, {self, mask}, out, {value});
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(where_self_out)
PENLIGHT_DEFINE_KERNEL(masked_fill_Scalar_out)
