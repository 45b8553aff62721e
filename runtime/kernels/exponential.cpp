// exp, sigmoid, tanh, erf, gelu and silu: the C library's functions are the definition, and what
// runs where PENLIGHT_ISA is "scalar"; elsewhere float takes the vectorised ones.
#include <bit>

#include "elementwise.h"

#define PENLIGHT_TARGET_SOURCE "exponential.simd.h"
#define PENLIGHT_TARGET_FLOAT_ONLY
#include "simd/for_each_target.h"

namespace penlight::kernels {

static PointwiseOp vectorised(const Context& ctx, PointwiseOp op, BlockFunction f32) {
    if (ctx.isa != Isa::scalar) op.f32 = f32;
    return op;
}

#define PENLIGHT_EXPONENTIAL(NAME, EXPRESSION)                                  \
    static constexpr PointwiseOp NAME##_op = real_only<[](auto x) {             \
        using C [[maybe_unused]] = decltype(x);                                 \
        return static_cast<decltype(x)>(EXPRESSION);                            \
    }>();                                                                       \
    static Status NAME##_out(Context& ctx, const Tensor& self, Tensor& out) {   \
        const BlockFunction f32 = PENLIGHT_SELECT_FLOAT(ctx.isa, NAME##_block); \
        return pointwise(ctx, vectorised(ctx, NAME##_op, f32), {self}, out);    \
    }

PENLIGHT_EXPONENTIAL(exp, std::exp(x))
PENLIGHT_EXPONENTIAL(sigmoid, 1 / (1 + std::exp(-x)))
PENLIGHT_EXPONENTIAL(tanh, std::tanh(x))
PENLIGHT_EXPONENTIAL(erf, std::erf(x))
PENLIGHT_EXPONENTIAL(silu, x / (1 + std::exp(-x)))
// x * P(standard normal <= x)
PENLIGHT_EXPONENTIAL(gelu_none, C(0.5) * x * (1 + std::erf(x * C(0.70710678118654752440))))
// Its approximation by Hendrycks and Gimpel, arXiv:1606.08415: sqrt(2 / pi) and a cubic.
PENLIGHT_EXPONENTIAL(gelu_tanh,
                     C(0.5) * x *
                         (1 + std::tanh(C(0.79788456080286535588) * (x + C(0.044715) * x * x * x))))

static Status gelu_out(Context& ctx, const Tensor& self, std::string_view approximate,
                       Tensor& out) {
    if (approximate == "none") return gelu_none_out(ctx, self, out);
    if (approximate == "tanh") return gelu_tanh_out(ctx, self, out);
    return ctx.fail("expected approximate to be 'none' or 'tanh' but got '%.*s'",
                    static_cast<int>(approximate.size()), approximate.data());
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(exp_out)
PENLIGHT_DEFINE_KERNEL(sigmoid_out)
PENLIGHT_DEFINE_KERNEL(tanh_out)
PENLIGHT_DEFINE_KERNEL(erf_out)
PENLIGHT_DEFINE_KERNEL(silu_out)
PENLIGHT_DEFINE_KERNEL(gelu_out)
