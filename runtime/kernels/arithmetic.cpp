// add, sub, rsub and mul. Integers wrap; bool adds as "or" and multiplies as "and".
#include "elementwise.h"
#include "integer.h"

namespace penlight::kernels {

template <class C> static C times(C a, C b) {
    if constexpr (is_real<C>)
        return a * b;
    else
        return wrap_multiply(a, b);
}
template <class C> static C plus(C a, C b) {
    if constexpr (is_real<C>)
        return a + b;
    else
        return wrap_add(a, b);
}
template <class C> static C minus(C a, C b) {
    if constexpr (is_real<C>)
        return a - b;
    else
        return wrap_subtract(a, b);
}

static constexpr PointwiseOp arithmetic(PointwiseOp op, bool exact_scalar = false) {
    op.modular = true;
    op.exact_scalar = exact_scalar;
    return op;
}
static constexpr PointwiseOp add_op =
    arithmetic(binary<[](auto a, auto b) { return plus(a, b); }>());
static constexpr PointwiseOp add_scaled_op =
    arithmetic(binary<[](auto a, auto b, const auto* p) { return plus(a, times(p[0], b)); }>());
static constexpr PointwiseOp sub_op =
    arithmetic(binary<[](auto a, auto b) { return minus(a, b); }>());
static constexpr PointwiseOp sub_scaled_op =
    arithmetic(binary<[](auto a, auto b, const auto* p) { return minus(a, times(p[0], b)); }>());
static constexpr PointwiseOp mul_op =
    arithmetic(binary<[](auto a, auto b) { return times(a, b); }>(), true);

static Status scaled(Context& ctx, const PointwiseOp& plain, const PointwiseOp& with_alpha,
                     const Input& a, const Input& b, const Scalar& alpha, Tensor& out) {
    if (alpha.to_double() == 1) return pointwise(ctx, plain, {a, b}, out);
    if (alpha.kind == PENLIGHT_REAL && !is_floating(result_type({a, b}))) {
        return ctx.fail("expected an integer alpha for integer tensors but got %g", alpha.real);
    }
    return pointwise(ctx, with_alpha, {a, b}, out, {alpha});
}

static Status subtract(Context& ctx, const Input& a, const Input& b, const Scalar& alpha,
                       Tensor& out) {
    for (const Input* input : {&a, &b}) {
        const bool truth = input->tensor != nullptr ? input->tensor->dtype == PENLIGHT_BOOL
                                                    : input->scalar.kind == PENLIGHT_BOOLEAN;
        if (truth) return ctx.fail("expected numbers but got bool; use logical_xor or cast first");
    }
    return scaled(ctx, sub_op, sub_scaled_op, a, b, alpha, out);
}

static Status add_out(Context& ctx, const Tensor& self, const Tensor& other, Scalar alpha,
                      Tensor& out) {
    return scaled(ctx, add_op, add_scaled_op, self, other, alpha, out);
}
static Status add_Scalar_out(Context& ctx, const Tensor& self, Scalar other, Scalar alpha,
                             Tensor& out) {
    return scaled(ctx, add_op, add_scaled_op, self, other, alpha, out);
}
static Status sub_out(Context& ctx, const Tensor& self, const Tensor& other, Scalar alpha,
                      Tensor& out) {
    return subtract(ctx, self, other, alpha, out);
}
static Status sub_Scalar_out(Context& ctx, const Tensor& self, Scalar other, Scalar alpha,
                             Tensor& out) {
    return subtract(ctx, self, other, alpha, out);
}
// other - alpha * self
static Status rsub_Scalar_out(Context& ctx, const Tensor& self, Scalar other, Scalar alpha,
                              Tensor& out) {
    return subtract(ctx, other, self, alpha, out);
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(add_out)
PENLIGHT_DEFINE_KERNEL(add_Scalar_out)
PENLIGHT_DEFINE_KERNEL(sub_out)
PENLIGHT_DEFINE_KERNEL(sub_Scalar_out)
PENLIGHT_DEFINE_KERNEL(rsub_Scalar_out)
PENLIGHT_BINARY_KERNELS(mul, mul_op)
