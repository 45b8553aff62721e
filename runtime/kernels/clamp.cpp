// clamp: min(max(x, lower), upper). A NaN on any side gives NaN.
#include "elementwise.h"

namespace penlight::kernels {

template <class C> static C at_least(C x, C lower) { return x > lower || x != x ? x : lower; }
template <class C> static C at_most(C x, C upper) { return x < upper || x != x ? x : upper; }

static constexpr PointwiseOp numbers_only(PointwiseOp op) {
    op.accepts_bool = false;
    return op;
}
static constexpr PointwiseOp lower_op =
    numbers_only(binary<[](auto x, auto lower) { return at_least(x, lower); }>());
static constexpr PointwiseOp upper_op =
    numbers_only(binary<[](auto x, auto upper) { return at_most(x, upper); }>());
static constexpr PointwiseOp both_op = numbers_only(
    generic<[](auto x, auto lower, auto upper) { return at_most(at_least(x, lower), upper); },
            3>());

static Status no_bounds(Context& ctx) {
    return ctx.fail("expected min, max or both but got neither");
}

static Status clamp_out(Context& ctx, const Tensor& self, std::optional<Scalar> min,
                        std::optional<Scalar> max, Tensor& out) {
    if (min && max) return pointwise(ctx, both_op, {self, *min, *max}, out);
    if (min) return pointwise(ctx, lower_op, {self, *min}, out);
    if (max) return pointwise(ctx, upper_op, {self, *max}, out);
    return no_bounds(ctx);
}

static Status clamp_Tensor_out(Context& ctx, const Tensor& self, const Tensor* min,
                               const Tensor* max, Tensor& out) {
    if (min && max) return pointwise(ctx, both_op, {self, *min, *max}, out);
    if (min) return pointwise(ctx, lower_op, {self, *min}, out);
    if (max) return pointwise(ctx, upper_op, {self, *max}, out);
    return no_bounds(ctx);
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(clamp_out)
PENLIGHT_DEFINE_KERNEL(clamp_Tensor_out)
