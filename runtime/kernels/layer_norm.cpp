#include <cmath>

#include "normalisation.h"

namespace penlight::kernels {

// y = (x - mean) * rstd * weight + bias over each row [n].
template <class C>
static void layer_norm_rows(Context& ctx, const Tensor& input, int64_t rows, int64_t n,
                            const Tensor* weight, const Tensor* bias, double eps, Tensor& out,
                            Tensor& mean, Tensor& rstd) {
    ctx.parallel_for(rows, grain_for(2 * n), [&](int64_t begin, int64_t end) {
        Source<C> x(&input), w(weight), b(bias);
        Sink<C> y(out);
        for (int64_t r = begin; r < end; r++) {
            const Moments<C> m = moments(x, r * n, n);
            const C scale = 1 / std::sqrt(m.variance + static_cast<C>(eps));
            for_blocks(n, [&](int64_t i, int64_t count) {
                const C* from = x.get(r * n + i, count);
                C* to = y.at(r * n + i);
                for (int64_t k = 0; k < count; k++) to[k] = (from[k] - m.mean) * scale;
                if (weight != nullptr) {
                    const C* by = w.get(i, count);
                    for (int64_t k = 0; k < count; k++) to[k] *= by[k];
                }
                if (bias != nullptr) {
                    const C* plus = b.get(i, count);
                    for (int64_t k = 0; k < count; k++) to[k] += plus[k];
                }
                y.put(r * n + i, count);
            });
            set_real(mean, r, m.mean);
            set_real(rstd, r, scale);
        }
    });
}

// input [..., normalized_shape]; mean and rstd have input's shape with 1 for the normalised sizes.
static Status native_layer_norm_out(Context& ctx, const Tensor& input, IntList normalized_shape,
                                    const Tensor* weight, const Tensor* bias, double eps,
                                    Tensor& out, Tensor& mean, Tensor& rstd) {
    const int32_t inner = static_cast<int32_t>(normalized_shape.size());
    bool fits = inner >= 1 && inner <= input.rank;
    int64_t n = 1, shape[max_rank];
    for (int32_t d = 0; fits && d < input.rank; d++) {
        const int32_t k = d - (input.rank - inner);
        shape[d] = k < 0 ? input.sizes[d] : 1;
        if (k < 0) continue;
        fits = normalized_shape[static_cast<uint32_t>(k)] == input.sizes[d];
        n *= input.sizes[d];
    }
    if (!fits) {
        return ctx.fail("expected normalized_shape to be the last sizes of %s but got others",
                        ShapeText(input).text);
    }
    PENLIGHT_TRY(expect_contiguous(ctx, "input", input));
    PENLIGHT_TRY(expect_dtype(ctx, "out0", out, input.dtype));
    PENLIGHT_TRY(expect_vector(ctx, "weight", weight, n));
    PENLIGHT_TRY(expect_vector(ctx, "bias", bias, n));
    PENLIGHT_TRY(resize_like(ctx, out, input));
    PENLIGHT_TRY(resize(ctx, mean, input.rank, shape));
    PENLIGHT_TRY(resize(ctx, rstd, input.rank, shape));
    PENLIGHT_TRY(expect_contiguous(ctx, "out0", out));
    const int64_t rows = mean.numel();
    PENLIGHT_TRY(expect_vector(ctx, "out1", &mean, rows));
    PENLIGHT_TRY(expect_vector(ctx, "out2", &rstd, rows));
    return with_real(ctx, input, [&](auto zero) {
        layer_norm_rows<decltype(zero)>(ctx, input, rows, n, weight, bias, eps, out, mean, rstd);
        return Status::ok;
    });
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(native_layer_norm_out)
