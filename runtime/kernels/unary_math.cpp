// Functions of one real number, by the C library. Integers become float32 first.
#include "elementwise.h"

#define PENLIGHT_MATH(NAME, EXPRESSION)                                           \
    namespace penlight::kernels {                                                 \
    static constexpr PointwiseOp NAME##_op =                                      \
        real_only<[](auto x) { return static_cast<decltype(x)>(EXPRESSION); }>(); \
    }                                                                             \
    PENLIGHT_UNARY_KERNEL(NAME, NAME##_op)

PENLIGHT_MATH(acos, std::acos(x))
PENLIGHT_MATH(acosh, std::acosh(x))
PENLIGHT_MATH(asin, std::asin(x))
PENLIGHT_MATH(asinh, std::asinh(x))
PENLIGHT_MATH(atan, std::atan(x))
PENLIGHT_MATH(atanh, std::atanh(x))
PENLIGHT_MATH(cos, std::cos(x))
PENLIGHT_MATH(cosh, std::cosh(x))
PENLIGHT_MATH(erfc, std::erfc(x))
PENLIGHT_MATH(exp2, std::exp2(x))
PENLIGHT_MATH(expm1, std::expm1(x))
PENLIGHT_MATH(log, std::log(x))
PENLIGHT_MATH(log10, std::log10(x))
PENLIGHT_MATH(log1p, std::log1p(x))
PENLIGHT_MATH(log2, std::log2(x))
PENLIGHT_MATH(reciprocal, 1 / x)
PENLIGHT_MATH(rsqrt, 1 / std::sqrt(x))
PENLIGHT_MATH(sin, std::sin(x))
PENLIGHT_MATH(sinh, std::sinh(x))
PENLIGHT_MATH(sqrt, std::sqrt(x))
PENLIGHT_MATH(tan, std::tan(x))
