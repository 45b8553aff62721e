// div in its rounding modes, floor_divide, remainder and fmod. An integer divided by 0 is an error.
#include "elementwise.h"
#include "integer.h"

namespace penlight::kernels {

// F(a, b) for b != 0; a fault otherwise.
template <auto F> static void integer_block(const Block& b) {
    const int64_t* x = static_cast<const int64_t*>(b.in[0]);
    const int64_t* divisor = static_cast<const int64_t*>(b.in[1]);
    int64_t* y = static_cast<int64_t*>(b.out);
    for (int64_t i = 0; i < b.count; i++) {
        if (divisor[i] == 0) return b.fault->store(true, std::memory_order_relaxed);
        y[i] = F(x[i], divisor[i]);
    }
}

template <auto Real, auto Integer> static constexpr PointwiseOp division() {
    PointwiseOp op{&block<float, Real, 2>, &block<double, Real, 2>, &integer_block<Integer>,
                   Rule::promote};
    op.accepts_bool = false;
    return op;
}

template <class C> static C floored_real_remainder(C a, C b) {
    const C remainder = std::fmod(a, b);
    return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

// floor(a / b), from the remainder: rounding a / b first could reach the next integer.
template <class C> static C floored_real_quotient(C a, C b) {
    if (b == 0) return a / b;
    const C remainder = std::fmod(a, b);
    C quotient = (a - remainder) / b;
    if (remainder != 0 && (remainder < 0) != (b < 0)) quotient -= 1;
    if (quotient == 0) return std::copysign(C(0), a / b);
    return std::nearbyint(quotient);
}

static constexpr PointwiseOp true_op = [] {
    PointwiseOp op = real_only<[](auto a, auto b) { return a / b; }, 2>();
    op.exact_scalar = true;
    op.expensive = false;
    return op;
}();
static constexpr PointwiseOp floor_op =
    division<[](auto a, auto b) { return floored_real_quotient(a, b); }, &floored_quotient>();
static constexpr PointwiseOp trunc_op =
    division<[](auto a, auto b) { return std::trunc(a / b); }, &truncated_quotient>();
static constexpr PointwiseOp remainder_op =
    division<[](auto a, auto b) { return floored_real_remainder(a, b); }, &floored_remainder>();
static constexpr PointwiseOp fmod_op =
    division<[](auto a, auto b) { return std::fmod(a, b); }, &truncated_remainder>();

static Status divide(Context& ctx, const Tensor& self, const Input& other,
                     const std::optional<std::string_view>& mode, Tensor& out) {
    if (!mode.has_value()) return pointwise(ctx, true_op, {self, other}, out);
    if (*mode == "floor") return pointwise(ctx, floor_op, {self, other}, out);
    if (*mode == "trunc") return pointwise(ctx, trunc_op, {self, other}, out);
    return ctx.fail("expected rounding_mode to be 'floor' or 'trunc' but got '%.*s'",
                    static_cast<int>(mode->size()), mode->data());
}

static Status div_out_mode(Context& ctx, const Tensor& self, const Tensor& other,
                           std::optional<std::string_view> rounding_mode, Tensor& out) {
    return divide(ctx, self, other, rounding_mode, out);
}
static Status div_Scalar_mode_out(Context& ctx, const Tensor& self, Scalar other,
                                  std::optional<std::string_view> rounding_mode, Tensor& out) {
    return divide(ctx, self, other, rounding_mode, out);
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(div_out_mode)
PENLIGHT_DEFINE_KERNEL(div_Scalar_mode_out)
PENLIGHT_BINARY_KERNELS(div, true_op)
PENLIGHT_BINARY_KERNELS(floor_divide, floor_op)
PENLIGHT_BINARY_KERNELS(remainder, remainder_op)
PENLIGHT_BINARY_KERNELS(fmod, fmod_op)
