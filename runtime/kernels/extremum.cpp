// amax, amin, max, min, argmax and argmin. The first NaN wins, else the first of the extremes.
#include "reduction.h"

namespace penlight::kernels {

template <class C, bool greatest> struct Extremum {
    using Element = C;
    C best = 0;
    int64_t at = -1;

    static bool beats(C a, C b) {
        if constexpr (greatest) {
            return b < a;
        } else {
            return a < b;
        }
    }
    void fold(C x, int64_t i) {
        if (at < 0 || beats(x, best) || (x != x && best == best)) {
            best = x;
            at = i;
        }
    }
    C value(int64_t, const Scalar&) const { return best; }
    int64_t index() const { return at; }
};
template <class C> using Greatest = Extremum<C, true>;
template <class C> using Least = Extremum<C, false>;

// The same without the index: several side by side keep a vector busy.
template <class C, bool greatest> struct Peak {
    using Element = C;
    using Limits = std::numeric_limits<C>;
    static constexpr C start = !is_real<C> ? (greatest ? Limits::min() : Limits::max())
                               : greatest  ? -Limits::infinity()
                                           : Limits::infinity();
    C best = start;

    static C better(C best, C x) {
        return Extremum<C, greatest>::beats(x, best) || x != x ? x : best;
    }
    void fold(C x, int64_t) { best = better(best, x); }
    void fold_run(const C* x, int64_t count) {
        C lanes[16];
        for (C& lane : lanes) lane = best;
        int64_t i = 0;
        for (; i + 16 <= count; i += 16) {
            for (int j = 0; j < 16; j++) lanes[j] = better(lanes[j], x[i + j]);
        }
        for (; i < count; i++) best = better(best, x[i]);
        for (C lane : lanes) best = better(best, lane);
    }
    C value(int64_t, const Scalar&) const { return best; }
};
template <class C> using Highest = Peak<C, true>;
template <class C> using Lowest = Peak<C, false>;

template <bool greatest>
static Status extremum(Context& ctx, const Tensor& self, uint32_t dims, bool keepdim,
                       Tensor* values, Tensor* indices) {
    if (self.dtype == PENLIGHT_UINT64) {
        return ctx.fail("expected any dtype but uint64; cast to int64 first");
    }
    if (values != nullptr) PENLIGHT_TRY(expect_dtype(ctx, "out", *values, self.dtype));
    if (indices != nullptr) PENLIGHT_TRY(expect_dtype(ctx, "indices", *indices, PENLIGHT_INT64));
    const Compute c = compute_type(self.dtype);
    Reducer reducer = greatest ? reducer_for<Greatest>(c) : reducer_for<Least>(c);
    if (indices == nullptr) reducer = greatest ? reducer_for<Highest>(c) : reducer_for<Lowest>(c);
    ReductionArguments arguments{self, dims, keepdim, c, values, indices};
    arguments.needs_elements = true;
    return reduce(ctx, reducer, arguments);
}

#define PENLIGHT_EXTREMUM_KERNELS(NAME, GREATEST)                                                \
    static Status a##NAME##_out(Context& ctx, const Tensor& self, IntList dim, bool keepdim,     \
                                Tensor& out) {                                                   \
        uint32_t dims;                                                                           \
        PENLIGHT_TRY(reduced_dims(ctx, self, dim, &dims));                                       \
        return extremum<GREATEST>(ctx, self, dims, keepdim, &out, nullptr);                      \
    }                                                                                            \
    static Status NAME##_unary_out(Context& ctx, const Tensor& self, Tensor& out) {              \
        return extremum<GREATEST>(ctx, self, all_dims(self), false, &out, nullptr);              \
    }                                                                                            \
    static Status NAME##_dim_##NAME(Context& ctx, const Tensor& self, int64_t dim, bool keepdim, \
                                    Tensor& values, Tensor& indices) {                           \
        uint32_t dims;                                                                           \
        PENLIGHT_TRY(reduced_dim(ctx, self, dim, &dims));                                        \
        return extremum<GREATEST>(ctx, self, dims, keepdim, &values, &indices);                  \
    }                                                                                            \
    static Status arg##NAME##_out(Context& ctx, const Tensor& self, std::optional<int64_t> dim,  \
                                  bool keepdim, Tensor& out) {                                   \
        uint32_t dims;                                                                           \
        PENLIGHT_TRY(reduced_dim(ctx, self, dim, &dims));                                        \
        return extremum<GREATEST>(ctx, self, dims, keepdim, nullptr, &out);                      \
    }

PENLIGHT_EXTREMUM_KERNELS(max, true)
PENLIGHT_EXTREMUM_KERNELS(min, false)

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(amax_out)
PENLIGHT_DEFINE_KERNEL(max_unary_out)
PENLIGHT_DEFINE_KERNEL(max_dim_max)
PENLIGHT_DEFINE_KERNEL(argmax_out)
PENLIGHT_DEFINE_KERNEL(amin_out)
PENLIGHT_DEFINE_KERNEL(min_unary_out)
PENLIGHT_DEFINE_KERNEL(min_dim_min)
PENLIGHT_DEFINE_KERNEL(argmin_out)
