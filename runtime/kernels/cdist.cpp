// Distances between points by the p-norm of their difference: between two sets, or within one.
#include <cmath>

#include "normalisation.h"

namespace penlight::kernels {

// The sum of f(a[i] - b[i]), in 8 lanes so that it can be vectorised.
template <class C, class F> static C difference_sum(const C* a, const C* b, int64_t n, const F& f) {
    C lane[8] = {};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int k = 0; k < 8; k++) lane[k] += f(a[i + k] - b[i + k]);
    }
    for (; i < n; i++) lane[i & 7] += f(a[i] - b[i]);
    return ((lane[0] + lane[4]) + (lane[1] + lane[5])) +
           ((lane[2] + lane[6]) + (lane[3] + lane[7]));
}

template <class C> static C distance(const C* a, const C* b, int64_t n, double p) {
    C sum = 0;
    if (p == 0) {
        for (int64_t i = 0; i < n; i++) sum += a[i] != b[i];
    } else if (p == 1) {
        sum = difference_sum(a, b, n, [](C d) { return std::fabs(d); });
    } else if (p == 2) {
        sum = std::sqrt(difference_sum(a, b, n, [](C d) { return d * d; }));
    } else if (std::isinf(p)) {
        for (int64_t i = 0; i < n; i++) {
            const C d = std::fabs(a[i] - b[i]);
            sum = d > sum || d != d ? d : sum;
        }
    } else {
        const C power = static_cast<C>(p);
        for (int64_t i = 0; i < n; i++) sum += std::pow(std::fabs(a[i] - b[i]), power);
        sum = std::pow(sum, 1 / power);
    }
    return sum;
}

static Status expect_points(Context& ctx, const char* name, const Tensor& t, double p) {
    if (t.dtype != PENLIGHT_FLOAT && t.dtype != PENLIGHT_DOUBLE) {
        return ctx.fail("expected %s of dtype float32 or float64 but got %s", name,
                        dtype_name(t.dtype));
    }
    if (!(p >= 0)) return ctx.fail("expected p >= 0 but got %g", p);
    return expect_contiguous(ctx, name, t);
}

// x1 [..., P, M], x2 [..., R, M] -> out [..., P, R], the leading sizes broadcast.
static Status cdist_forward_out(Context& ctx, const Tensor& x1, const Tensor& x2, double p,
                                std::optional<int64_t>, Tensor& out) {
    PENLIGHT_TRY(expect_points(ctx, "x1", x1, p));
    PENLIGHT_TRY(expect_points(ctx, "x2", x2, p));
    PENLIGHT_TRY(expect_rank(ctx, "x1", x1, 2, max_rank));
    PENLIGHT_TRY(expect_rank(ctx, "x2", x2, 2, max_rank));
    PENLIGHT_TRY(expect_dtype(ctx, "x2", x2, x1.dtype));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, x1.dtype));
    const int32_t rank = x1.rank > x2.rank ? x1.rank : x2.rank;
    int64_t sizes[max_rank], s1[max_rank], s2[max_rank];
    bool fits = x1.sizes[x1.rank - 1] == x2.sizes[x2.rank - 1];
    for (int32_t d = 0; d < rank - 2; d++) {
        const int32_t i = d - (rank - x1.rank), j = d - (rank - x2.rank);
        const int64_t a = i < 0 ? 1 : x1.sizes[i], b = j < 0 ? 1 : x2.sizes[j];
        fits = fits && (a == b || a == 1 || b == 1);
        sizes[d] = a == 1 ? b : a;
        s1[d] = a == 1 ? 0 : x1.strides[i];
        s2[d] = b == 1 ? 0 : x2.strides[j];
    }
    if (!fits) {
        return ctx.fail("expected points of one size in broadcastable sets but got %s and %s",
                        ShapeText(x1).text, ShapeText(x2).text);
    }
    const int64_t P = x1.sizes[x1.rank - 2], R = x2.sizes[x2.rank - 2];
    const int64_t M = x1.sizes[x1.rank - 1];
    sizes[rank - 2] = P, s1[rank - 2] = M, s2[rank - 2] = 0;
    sizes[rank - 1] = R;
    PENLIGHT_TRY(resize(ctx, out, rank, sizes));
    PENLIGHT_TRY(expect_contiguous(ctx, "out", out));
    if (out.numel() == 0) return Status::ok;
    return with_real(ctx, x1, [&](auto zero) {
        using C = decltype(zero);
        ctx.parallel_for(out.numel() / R, grain_for(R * (M + 1)), [&](int64_t begin, int64_t end) {
            Odometer<2> at{rank - 1, sizes, {s1, s2}, {}, {}};
            at.seek(begin);
            for (int64_t r = begin; r < end; r++, at.next()) {
                const C* a = x1.ptr<C>() + at.offset[0];
                const C* b = x2.ptr<C>() + at.offset[1];
                for (int64_t j = 0; j < R; j++)
                    out.ptr<C>()[r * R + j] = distance(a, b + j * M, M, p);
            }
        });
        return Status::ok;
    });
}

// self [N, M] -> out [N (N - 1) / 2], pairs (0, 1), (0, 2), ..., (1, 2), ...
static Status pdist_forward_out(Context& ctx, const Tensor& self, double p, Tensor& out) {
    PENLIGHT_TRY(expect_points(ctx, "self", self, p));
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 2, 2));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    const int64_t n = self.sizes[0], m = self.sizes[1];
    int64_t twice;
    if (__builtin_mul_overflow(n, n - 1, &twice)) return ctx.fail("expected fewer points");
    const int64_t count = twice / 2;
    PENLIGHT_TRY(resize(ctx, out, 1, &count));
    return with_real(ctx, self, [&](auto zero) {
        using C = decltype(zero);
        ctx.parallel_for(n, 1, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; i++) {
                C* to = out.ptr<C>() + i * (2 * n - i - 1) / 2;
                const C* x = self.ptr<C>();
                for (int64_t j = i + 1; j < n; j++) *to++ = distance(x + i * m, x + j * m, m, p);
            }
        });
        return Status::ok;
    });
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(cdist_forward_out)
PENLIGHT_DEFINE_KERNEL(pdist_forward_out)
