// eq, ne, lt, le, gt, ge, maximum and minimum. Any comparison with NaN but "ne" is false; the
// maximum and minimum with NaN are NaN.
#include "elementwise.h"

namespace penlight::kernels {

static constexpr PointwiseOp equality(PointwiseOp op) {
    op.modular = true;
    return op;
}
static constexpr PointwiseOp eq_op =
    equality(binary<[](auto a, auto b) { return a == b; }>(Rule::test));
static constexpr PointwiseOp ne_op =
    equality(binary<[](auto a, auto b) { return a != b; }>(Rule::test));
static constexpr PointwiseOp lt_op = binary<[](auto a, auto b) { return a < b; }>(Rule::test);
static constexpr PointwiseOp le_op = binary<[](auto a, auto b) { return a <= b; }>(Rule::test);
static constexpr PointwiseOp gt_op = binary<[](auto a, auto b) { return b < a; }>(Rule::test);
static constexpr PointwiseOp ge_op = binary<[](auto a, auto b) { return b <= a; }>(Rule::test);
static constexpr PointwiseOp maximum_op =
    binary<[](auto a, auto b) { return b < a || a != a ? a : b; }>();
static constexpr PointwiseOp minimum_op =
    binary<[](auto a, auto b) { return a < b || a != a ? a : b; }>();

static Status maximum_out(Context& ctx, const Tensor& self, const Tensor& other, Tensor& out) {
    return pointwise(ctx, maximum_op, {self, other}, out);
}
static Status minimum_out(Context& ctx, const Tensor& self, const Tensor& other, Tensor& out) {
    return pointwise(ctx, minimum_op, {self, other}, out);
}

}  // namespace penlight::kernels

PENLIGHT_BINARY_KERNELS(eq, eq_op)
PENLIGHT_BINARY_KERNELS(ne, ne_op)
PENLIGHT_BINARY_KERNELS(lt, lt_op)
PENLIGHT_BINARY_KERNELS(le, le_op)
PENLIGHT_BINARY_KERNELS(gt, gt_op)
PENLIGHT_BINARY_KERNELS(ge, ge_op)
PENLIGHT_DEFINE_KERNEL(maximum_out)
PENLIGHT_DEFINE_KERNEL(minimum_out)
