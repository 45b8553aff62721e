// pow in its three overloads, and other functions of two real numbers: atan2, hypot, copysign.
#include "elementwise.h"
#include "integer.h"

namespace penlight::kernels {

template <class C> static C power(C a, C b) {
    if constexpr (is_real<C>) {
        return std::pow(a, b);
    } else {
        return wrap_power(a, b);
    }
}

static constexpr PointwiseOp numbers_only(PointwiseOp op) {
    op.accepts_bool = false;
    op.expensive = true;
    return op;
}
static constexpr PointwiseOp pow_op =
    numbers_only(binary<[](auto a, auto b) { return power(a, b); }>());
static constexpr PointwiseOp square_op = numbers_only(unary<[](auto x) {
    if constexpr (is_real<decltype(x)>) {
        return x * x;
    } else {
        return wrap_multiply(x, x);
    }
}>());
static constexpr PointwiseOp sqrt_op = real_only<[](auto x) { return std::sqrt(x); }>();

static Status pow_Tensor_Tensor_out(Context& ctx, const Tensor& self, const Tensor& exponent,
                                    Tensor& out) {
    return pointwise(ctx, pow_op, {self, exponent}, out);
}

static Status pow_Tensor_Scalar_out(Context& ctx, const Tensor& self, Scalar exponent,
                                    Tensor& out) {
    const bool real = is_floating(result_type({self, exponent}));
    if (!real && exponent.to_int() < 0) {
        return ctx.fail("expected an exponent of at least 0 for integers but got %lld",
                        static_cast<long long>(exponent.to_int()));
    }
    const double e = exponent.to_double();
    if (e == 2 && is_floating(self.dtype)) return pointwise(ctx, square_op, {self}, out);
    if (e == 0.5 && is_floating(self.dtype)) return pointwise(ctx, sqrt_op, {self}, out);
    return pointwise(ctx, pow_op, {self, exponent}, out);
}

static Status pow_Scalar_out(Context& ctx, Scalar self, const Tensor& exponent, Tensor& out) {
    return pointwise(ctx, pow_op, {self, exponent}, out);
}

static constexpr PointwiseOp atan2_op =
    real_only<[](auto a, auto b) { return std::atan2(a, b); }, 2>();
static Status atan2_out(Context& ctx, const Tensor& self, const Tensor& other, Tensor& out) {
    return pointwise(ctx, atan2_op, {self, other}, out);
}

static constexpr PointwiseOp hypot_op =
    real_only<[](auto a, auto b) { return std::hypot(a, b); }, 2>();
static Status hypot_out(Context& ctx, const Tensor& self, const Tensor& other, Tensor& out) {
    return pointwise(ctx, hypot_op, {self, other}, out);
}

static constexpr PointwiseOp copysign_op =
    real_only<[](auto a, auto b) { return std::copysign(a, b); }, 2>();

}  // namespace penlight::kernels

PENLIGHT_BINARY_KERNELS(copysign, copysign_op)
PENLIGHT_DEFINE_KERNEL(hypot_out)
PENLIGHT_DEFINE_KERNEL(pow_Tensor_Tensor_out)
PENLIGHT_DEFINE_KERNEL(pow_Tensor_Scalar_out)
PENLIGHT_DEFINE_KERNEL(pow_Scalar_out)
PENLIGHT_DEFINE_KERNEL(atan2_out)
