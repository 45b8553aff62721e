// Activations with parameters.
#include "elementwise.h"

namespace penlight::kernels {

// p: negative slope
static constexpr PointwiseOp leaky_relu_op =
    real_only<[](auto x, const auto* p) { return (x > 0) ? x : x * p[0]; }>();
static Status leaky_relu_out(Context& ctx, const Tensor& self, Scalar negative_slope, Tensor& out) {
    return pointwise(ctx, leaky_relu_op, {self}, out, {negative_slope});
}

// p: alpha * scale, scale, input_scale
static constexpr PointwiseOp elu_op = real_only<[](auto x, const auto* p) {
    return x < 0 ? std::expm1(x * p[2]) * p[0] : x * p[1];
}>();
static Status elu_out(Context& ctx, const Tensor& self, Scalar alpha, Scalar scale,
                      Scalar input_scale, Tensor& out) {
    return pointwise(ctx, elu_op, {self}, out,
                     {real_scalar(alpha.to_double() * scale.to_double()), scale, input_scale});
}

// p: lower and upper bound
static constexpr PointwiseOp hardtanh_op = [] {
    PointwiseOp op =
        unary<[](auto x, const auto* p) { return x < p[0]     ? p[0]
                                                 : (x > p[1]) ? p[1]
                                                              : x; }>();
    op.accepts_bool = false;
    return op;
}();
static Status hardtanh_out(Context& ctx, const Tensor& self, Scalar min_val, Scalar max_val,
                           Tensor& out) {
    return pointwise(ctx, hardtanh_op, {self}, out, {min_val, max_val});
}

// p: lower and upper bound of x
static constexpr PointwiseOp logit_op = real_only<[](auto x, const auto* p) {
    x = x < p[0] ? p[0] : (x > p[1]) ? p[1] : x;
    return std::log(x / (1 - x));
}>();
static constexpr PointwiseOp unbounded_logit_op =
    real_only<[](auto x) { return std::log(x / (1 - x)); }>();
static Status logit_out(Context& ctx, const Tensor& self, std::optional<double> eps, Tensor& out) {
    if (!eps.has_value()) return pointwise(ctx, unbounded_logit_op, {self}, out);
    return pointwise(ctx, logit_op, {self}, out, {real_scalar(*eps), real_scalar(1 - *eps)});
}

// p: beta, and the value of beta * x above which the line x is exact enough
static constexpr PointwiseOp softplus_op = real_only<[](auto x, const auto* p) {
    return (x * p[0] > p[1]) ? x : std::log1p(std::exp(x * p[0])) / p[0];
}>();
static Status softplus_out(Context& ctx, const Tensor& self, Scalar beta, Scalar threshold,
                           Tensor& out) {
    return pointwise(ctx, softplus_op, {self}, out, {beta, threshold});
}

static constexpr auto relu6 = [](auto x) {
    using C = decltype(x);
    return x < 0 ? C(0) : x > 6 ? C(6) : x;
};
static constexpr PointwiseOp hardsigmoid_op = real_only<[](auto x) { return relu6(x + 3) / 6; }>();
static constexpr PointwiseOp hardswish_op =
    real_only<[](auto x) { return x * relu6(x + 3) / 6; }>();

static constexpr PointwiseOp glu_op =
    real_only<[](auto a, auto b) { return a * (1 / (1 + std::exp(-b))); }, 2>();

// self [.., 2n, ..] along dim -> out [.., n, ..]: the first half times the sigmoid of the second
static Status glu_out(Context& ctx, const Tensor& self, int64_t dim, Tensor& out) {
    int32_t d;
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank, &d));
    if (self.rank == 0 || self.sizes[d] % 2 != 0) {
        return ctx.fail("expected an even size at dimension %d but got %s", d,
                        ShapeText(self).text);
    }
    int64_t sizes[PENLIGHT_MAX_RANK];
    for (int32_t i = 0; i < self.rank; i++) sizes[i] = self.sizes[i];
    sizes[d] /= 2;
    Tensor halves[2] = {self, self};
    halves[0].sizes = halves[1].sizes = sizes;
    halves[1].data = static_cast<std::byte*>(self.data) +
                     static_cast<size_t>(sizes[d] * self.strides[d]) * item_size(self.dtype);
    return pointwise(ctx, glu_op, {halves[0], halves[1]}, out);
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(leaky_relu_out)
PENLIGHT_DEFINE_KERNEL(elu_out)
PENLIGHT_DEFINE_KERNEL(hardtanh_out)
PENLIGHT_DEFINE_KERNEL(logit_out)
PENLIGHT_DEFINE_KERNEL(softplus_out)
PENLIGHT_DEFINE_KERNEL(glu_out)
PENLIGHT_UNARY_KERNEL(hardsigmoid, hardsigmoid_op)
PENLIGHT_UNARY_KERNEL(hardswish, hardswish_op)
