// Functions of one number which keep its dtype, or test it.
#include "elementwise.h"

namespace penlight::kernels {

static constexpr auto absolute = [](auto x) {
    using C = decltype(x);
    if constexpr (is_real<C>) {
        return std::fabs(x);
    } else {
        return x < 0 ? static_cast<C>(0 - static_cast<uint64_t>(x)) : x;
    }
};
static constexpr auto negative = [](auto x) {
    using C = decltype(x);
    if constexpr (is_real<C>) {
        return -x;
    } else {
        return static_cast<C>(0 - static_cast<uint64_t>(x));
    }
};
// Integers are whole already.
template <auto F> static constexpr PointwiseOp rounding() {
    PointwiseOp op = unary<[](auto x) {
        if constexpr (is_real<decltype(x)>) {
            return F(x);
        } else {
            return x;
        }
    }>();
    op.modular = true;
    return op;
}
static constexpr PointwiseOp numbers_only(PointwiseOp op) {
    op.accepts_bool = false;
    return op;
}

static constexpr PointwiseOp abs_op = numbers_only(unary<absolute>());
static constexpr PointwiseOp neg_op = numbers_only(unary<negative>());
static constexpr PointwiseOp ceil_op =
    numbers_only(rounding<[](auto x) { return std::ceil(x); }>());
static constexpr PointwiseOp floor_op =
    numbers_only(rounding<[](auto x) { return std::floor(x); }>());
// Ties go to even: the rounding mode of a process is never changed by this library.
static constexpr PointwiseOp round_op =
    numbers_only(rounding<[](auto x) { return std::nearbyint(x); }>());
static constexpr PointwiseOp trunc_op =
    numbers_only(rounding<[](auto x) { return std::trunc(x); }>());
static constexpr PointwiseOp relu_op =
    numbers_only(unary<[](auto x) { return x < 0 ? decltype(x)(0) : x; }>());
static constexpr PointwiseOp sign_op =
    unary<[](auto x) { return static_cast<decltype(x)>((x > 0) - (x < 0)); }>();
static constexpr PointwiseOp isinf_op = unary<[](auto x) {
    if constexpr (is_real<decltype(x)>) {
        return std::fabs(x) == std::numeric_limits<decltype(x)>::infinity();
    } else {
        return false;
    }
}>(Rule::test);
static constexpr PointwiseOp isnan_op = unary<[](auto x) { return x != x; }>(Rule::test);
static constexpr PointwiseOp logical_not_op = unary<[](auto x) { return x == 0; }>(Rule::test);
static constexpr PointwiseOp bitwise_not_op = integer_only<[](auto x) { return ~x; }, 1>();

// True of -0 and of NaN with the sign.
static constexpr PointwiseOp signbit_op = unary<[](auto x) {
    if constexpr (is_real<decltype(x)>) {
        return std::signbit(x);
    } else {
        return x < 0;
    }
}>(Rule::test);

static Status bitwise_not_out(Context& ctx, const Tensor& self, Tensor& out) {
    const bool truth = self.dtype == PENLIGHT_BOOL;
    return pointwise(ctx, truth ? logical_not_op : bitwise_not_op, {self}, out);
}

}  // namespace penlight::kernels

PENLIGHT_UNARY_KERNEL(abs, abs_op)
PENLIGHT_UNARY_KERNEL(neg, neg_op)
PENLIGHT_UNARY_KERNEL(ceil, ceil_op)
PENLIGHT_UNARY_KERNEL(floor, floor_op)
PENLIGHT_UNARY_KERNEL(round, round_op)
PENLIGHT_UNARY_KERNEL(trunc, trunc_op)
PENLIGHT_UNARY_KERNEL(relu, relu_op)
PENLIGHT_UNARY_KERNEL(sign, sign_op)
PENLIGHT_UNARY_KERNEL(isinf, isinf_op)
PENLIGHT_UNARY_KERNEL(isnan, isnan_op)
PENLIGHT_UNARY_KERNEL(logical_not, logical_not_op)
PENLIGHT_UNARY_KERNEL(signbit, signbit_op)
PENLIGHT_DEFINE_KERNEL(bitwise_not_out)
