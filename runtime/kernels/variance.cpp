// var and var_mean, by Welford's update in float64 (Technometrics 4, 1962): one pass, no
// cancellation however large the mean.
#include "reduction.h"

namespace penlight::kernels {

template <class C> struct Variance {
    using Element = C;
    double mean = 0, squares = 0, count = 0;

    void fold(C x, int64_t) {
        const double value = static_cast<double>(x), delta = value - mean;
        count += 1;
        mean += delta / count;
        squares += delta * (value - mean);
    }
    // p: the correction, which is taken from the number of elements
    C value(int64_t n, const Scalar& p) const {
        const double divisor = static_cast<double>(n) - p.to_double();
        return static_cast<C>(squares / (divisor > 0 ? divisor : 0));
    }
};
template <class C> struct VarianceMean : Variance<C> {
    C value(int64_t n, const Scalar&) const {
        return n == 0 ? std::numeric_limits<C>::quiet_NaN() : static_cast<C>(this->mean);
    }
};

template <template <class> class S>
static Status moment(Context& ctx, const Tensor& self, uint32_t dims, bool keepdim,
                     const Scalar& correction, Tensor& out) {
    if (!is_floating(self.dtype)) {
        return ctx.fail("expected a floating dtype but got %s", dtype_name(self.dtype));
    }
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    const Compute c = compute_type(self.dtype);
    ReductionArguments arguments{self, dims, keepdim, c, &out};
    arguments.parameter = correction;
    return reduce(ctx, c == Compute::f32 ? reducer<S<float>>() : reducer<S<double>>(), arguments);
}

static Status var_correction_out(Context& ctx, const Tensor& self, std::optional<IntList> dim,
                                 std::optional<Scalar> correction, bool keepdim, Tensor& out) {
    uint32_t dims;
    PENLIGHT_TRY(reduced_dims(ctx, self, dim, &dims));
    return moment<Variance>(ctx, self, dims, keepdim, correction.value_or(int_scalar(1)), out);
}
static Status var_out(Context& ctx, const Tensor& self, std::optional<IntList> dim, bool unbiased,
                      bool keepdim, Tensor& out) {
    return var_correction_out(ctx, self, dim, int_scalar(unbiased ? 1 : 0), keepdim, out);
}
static Status var_mean_correction_out(Context& ctx, const Tensor& self, std::optional<IntList> dim,
                                      std::optional<Scalar> correction, bool keepdim, Tensor& out0,
                                      Tensor& out1) {
    uint32_t dims;
    PENLIGHT_TRY(reduced_dims(ctx, self, dim, &dims));
    PENLIGHT_TRY(var_correction_out(ctx, self, dim, correction, keepdim, out0));
    return moment<VarianceMean>(ctx, self, dims, keepdim, int_scalar(0), out1);
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(var_correction_out)
PENLIGHT_DEFINE_KERNEL(var_out)
PENLIGHT_DEFINE_KERNEL(var_mean_correction_out)
