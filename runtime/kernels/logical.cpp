// logical_and, logical_or, logical_xor over truth values; the bitwise operators over integers.
#include "elementwise.h"
#include "integer.h"

namespace penlight::kernels {

static constexpr PointwiseOp logical(PointwiseOp op) {
    op.modular = true;
    return op;
}
static constexpr PointwiseOp logical_and_op =
    logical(binary<[](auto a, auto b) { return (a != 0) & (b != 0); }>(Rule::test));
static constexpr PointwiseOp logical_or_op =
    logical(binary<[](auto a, auto b) { return (a != 0) | (b != 0); }>(Rule::test));
static constexpr PointwiseOp logical_xor_op =
    logical(binary<[](auto a, auto b) { return (a != 0) != (b != 0); }>(Rule::test));

#define PENLIGHT_LOGICAL(NAME)                                                                     \
    static Status NAME##_out(Context& ctx, const Tensor& self, const Tensor& other, Tensor& out) { \
        return pointwise(ctx, NAME##_op, {self, other}, out);                                      \
    }
PENLIGHT_LOGICAL(logical_and)
PENLIGHT_LOGICAL(logical_or)
PENLIGHT_LOGICAL(logical_xor)

static constexpr PointwiseOp shift(PointwiseOp op) {
    op.modular = false;  // the right shift of uint64 is not that of int64
    op.accepts_bool = false;
    return op;
}
static constexpr PointwiseOp bitwise_and_op = integer_only<[](auto a, auto b) { return a & b; }>();
static constexpr PointwiseOp bitwise_or_op = integer_only<[](auto a, auto b) { return a | b; }>();
static constexpr PointwiseOp bitwise_xor_op = integer_only<[](auto a, auto b) { return a ^ b; }>();
static constexpr PointwiseOp left_shift_op = shift(integer_only<&shift_left>());
static constexpr PointwiseOp right_shift_op = shift(integer_only<&shift_right>());

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(logical_and_out)
PENLIGHT_DEFINE_KERNEL(logical_or_out)
PENLIGHT_DEFINE_KERNEL(logical_xor_out)
PENLIGHT_BINARY_KERNELS(bitwise_and, bitwise_and_op)
PENLIGHT_BINARY_KERNELS(bitwise_or, bitwise_or_op)
PENLIGHT_BINARY_KERNELS(bitwise_xor, bitwise_xor_op)
PENLIGHT_BINARY_KERNELS(bitwise_left_shift, left_shift_op)
PENLIGHT_BINARY_KERNELS(bitwise_right_shift, right_shift_op)
