// linalg_vector_norm: (sum |x|^p)^(1/p) over some dims, in float64; the greatest |x| for p = inf,
// the least for -inf, and the number of elements other than 0 for p = 0.
#include "reduction.h"

namespace penlight::kernels {

template <class C> struct NormState {
    using Element = C;
    double total = 0;
    C value(int64_t, const Scalar&) const { return static_cast<C>(total); }
};
template <class C> struct Taxicab : NormState<C> {
    void fold(C x, int64_t) { this->total += std::fabs(static_cast<double>(x)); }
};
template <class C> struct Euclidean : NormState<C> {
    void fold(C x, int64_t) { this->total += static_cast<double>(x) * static_cast<double>(x); }
    C value(int64_t, const Scalar&) const { return static_cast<C>(std::sqrt(this->total)); }
};
template <class C> struct Support : NormState<C> {
    void fold(C x, int64_t) { this->total += x != 0 ? 1 : 0; }
};
template <class C> struct Supremum : NormState<C> {
    void fold(C x, int64_t) {
        const double a = std::fabs(static_cast<double>(x));
        this->total = a > this->total || a != a ? a : this->total;
    }
};
template <class C> struct Infimum : NormState<C> {
    Infimum() { this->total = std::numeric_limits<double>::infinity(); }
    void fold(C x, int64_t) {
        const double a = std::fabs(static_cast<double>(x));
        this->total = a < this->total || a != a ? a : this->total;
    }
};

template <template <class> class S>
static Status norm(Context& ctx, const ReductionArguments& arguments) {
    const bool single = arguments.compute == Compute::f32;
    return reduce(ctx, single ? reducer<S<float>>() : reducer<S<double>>(), arguments);
}

static Status linalg_vector_norm_out(Context& ctx, const Tensor& self, Scalar ord,
                                     std::optional<IntList> dim, bool keepdim,
                                     std::optional<int64_t> dtype, Tensor& out) {
    if (dtype) PENLIGHT_TRY(expect_dtype(ctx, "out", out, static_cast<int32_t>(*dtype)));
    if (!is_floating(self.dtype) || !is_floating(out.dtype)) {
        return ctx.fail("expected floating dtypes but got %s and out %s", dtype_name(self.dtype),
                        dtype_name(out.dtype));
    }
    uint32_t dims;
    PENLIGHT_TRY(reduced_dims(ctx, self, dim, &dims));
    ReductionArguments arguments{self, dims, keepdim, compute_type(out.dtype), &out};
    const double p = ord.to_double();
    if (p == 2) return norm<Euclidean>(ctx, arguments);
    if (p == 1) return norm<Taxicab>(ctx, arguments);
    if (p == 0) return norm<Support>(ctx, arguments);
    if (p > 0 && std::isinf(p)) return norm<Supremum>(ctx, arguments);
    if (p < 0 && std::isinf(p)) {
        arguments.needs_elements = true;
        return norm<Infimum>(ctx, arguments);
    }
    return ctx.fail("expected ord to be 0, 1, 2, inf or -inf but got %g", p);
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(linalg_vector_norm_out)
