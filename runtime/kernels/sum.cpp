// sum, mean and prod. Elements are read as the dtype of `out`; real numbers add up in float64.
#include "integer.h"
#include "reduction.h"

namespace penlight::kernels {

template <class C> struct Sum {
    using Element = C;
    std::conditional_t<is_real<C>, double, int64_t> total = 0;

    void fold(C x, int64_t) {
        if constexpr (is_real<C>) {
            total += static_cast<double>(x);
        } else {
            total = wrap_add(total, x);
        }
    }
    // Eight sums side by side, so that additions need not wait for each other.
    void fold_run(const C* x, int64_t count) {
        decltype(total) partial[8] = {};
        int64_t i = 0;
        for (; i + 8 <= count; i += 8) {
            for (int j = 0; j < 8; j++) {
                if constexpr (is_real<C>) {
                    partial[j] += static_cast<double>(x[i + j]);
                } else {
                    partial[j] = wrap_add(partial[j], x[i + j]);
                }
            }
        }
        for (; i < count; i++) fold(x[i], 0);
        for (auto p : partial) {
            if constexpr (is_real<C>) {
                total += p;
            } else {
                total = wrap_add(total, p);
            }
        }
    }
    C value(int64_t, const Scalar&) const { return static_cast<C>(total); }
};

template <class C> struct Mean : Sum<C> {
    C value(int64_t n, const Scalar&) const {
        if constexpr (is_real<C>) {
            return static_cast<C>(this->total / static_cast<double>(n));
        } else {
            return 0;  // refused before
        }
    }
};

template <class C> struct Product {
    using Element = C;
    std::conditional_t<is_real<C>, double, int64_t> total = 1;

    void fold(C x, int64_t) {
        if constexpr (is_real<C>) {
            total *= static_cast<double>(x);
        } else {
            total = wrap_multiply(total, x);
        }
    }
    C value(int64_t, const Scalar&) const { return static_cast<C>(total); }
};

static Status check_dtype(Context& ctx, std::optional<int64_t> dtype, const Tensor& out) {
    if (!dtype.has_value()) return Status::ok;
    return expect_dtype(ctx, "out", out, static_cast<int32_t>(*dtype));
}

template <template <class> class S>
static Status total(Context& ctx, const Tensor& self, uint32_t dims, bool keepdim,
                    std::optional<int64_t> dtype, Tensor& out) {
    PENLIGHT_TRY(check_dtype(ctx, dtype, out));
    const Compute c = compute_type(out.dtype);
    return reduce(ctx, reducer_for<S>(c), {self, dims, keepdim, c, &out});
}

static Status sum_IntList_out(Context& ctx, const Tensor& self, std::optional<IntList> dim,
                              bool keepdim, std::optional<int64_t> dtype, Tensor& out) {
    uint32_t dims;
    PENLIGHT_TRY(reduced_dims(ctx, self, dim, &dims));
    return total<Sum>(ctx, self, dims, keepdim, dtype, out);
}

static Status check_mean(Context& ctx, const Tensor& out) {
    if (is_floating(out.dtype)) return Status::ok;
    return ctx.fail("expected a floating out for a mean but got %s", dtype_name(out.dtype));
}
static Status mean_out(Context& ctx, const Tensor& self, std::optional<IntList> dim, bool keepdim,
                       std::optional<int64_t> dtype, Tensor& out) {
    uint32_t dims;
    PENLIGHT_TRY(check_mean(ctx, out));
    PENLIGHT_TRY(reduced_dims(ctx, self, dim, &dims));
    return total<Mean>(ctx, self, dims, keepdim, dtype, out);
}
static Status mean_dtype_out(Context& ctx, const Tensor& self, std::optional<int64_t> dtype,
                             Tensor& out) {
    PENLIGHT_TRY(check_mean(ctx, out));
    return total<Mean>(ctx, self, all_dims(self), false, dtype, out);
}

static Status prod_out(Context& ctx, const Tensor& self, std::optional<int64_t> dtype,
                       Tensor& out) {
    return total<Product>(ctx, self, all_dims(self), false, dtype, out);
}
static Status prod_int_out(Context& ctx, const Tensor& self, int64_t dim, bool keepdim,
                           std::optional<int64_t> dtype, Tensor& out) {
    uint32_t dims;
    PENLIGHT_TRY(reduced_dim(ctx, self, dim, &dims));
    return total<Product>(ctx, self, dims, keepdim, dtype, out);
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(sum_IntList_out)
PENLIGHT_DEFINE_KERNEL(mean_out)
PENLIGHT_DEFINE_KERNEL(mean_dtype_out)
PENLIGHT_DEFINE_KERNEL(prod_out)
PENLIGHT_DEFINE_KERNEL(prod_int_out)
