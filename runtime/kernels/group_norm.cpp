#include <cinttypes>
#include <cmath>

#include "normalisation.h"

namespace penlight::kernels {

// Each of N * group runs [channels / group][HxW] is normalised, then scaled by channel.
template <class C>
static void group_norm_runs(Context& ctx, const Tensor& input, int64_t runs, int64_t channels,
                            int64_t area, int64_t groups, const Tensor* weight, const Tensor* bias,
                            double eps, Tensor& out, Tensor& mean, Tensor& rstd) {
    const int64_t width = channels * area;
    ctx.parallel_for(runs, grain_for(2 * width), [&](int64_t begin, int64_t end) {
        Source<C> x(&input);
        Sink<C> y(out);
        for (int64_t r = begin; r < end; r++) {
            const Moments<C> m = moments(x, r * width, width);
            const C scale = 1 / std::sqrt(m.variance + static_cast<C>(eps));
            for (int64_t c = 0; c < channels; c++) {
                const int64_t channel = r % groups * channels + c;
                const C by =
                    weight == nullptr ? scale : scale * static_cast<C>(real_at(*weight, channel));
                const C plus =
                    (bias == nullptr ? 0 : static_cast<C>(real_at(*bias, channel))) - m.mean * by;
                const int64_t first = r * width + c * area;
                for_blocks(area, [&](int64_t i, int64_t count) {
                    const C* from = x.get(first + i, count);
                    C* to = y.at(first + i);
                    for (int64_t k = 0; k < count; k++) to[k] = from[k] * by + plus;
                    y.put(first + i, count);
                });
            }
            set_real(mean, r, m.mean);
            set_real(rstd, r, scale);
        }
    });
}

// input [N, C, ...] of N * C * HxW elements; mean and rstd [N, group].
static Status native_group_norm_out(Context& ctx, const Tensor& input, const Tensor* weight,
                                    const Tensor* bias, int64_t N, int64_t C, int64_t HxW,
                                    int64_t group, double eps, Tensor& out, Tensor& mean,
                                    Tensor& rstd) {
    PENLIGHT_TRY(expect_rank(ctx, "input", input, 2, max_rank));
    int64_t area = 1;
    for (int32_t d = 2; d < input.rank; d++) area *= input.sizes[d];
    if (input.sizes[0] != N || input.sizes[1] != C || area != HxW) {
        return ctx.fail("expected input [%" PRId64 ", %" PRId64 ", ...] of %" PRId64
                        " places but got %s",
                        N, C, HxW, ShapeText(input).text);
    }
    if (group <= 0 || C % group != 0) {
        return ctx.fail("expected groups that divide %" PRId64 " channels but got %" PRId64, C,
                        group);
    }
    PENLIGHT_TRY(expect_contiguous(ctx, "input", input));
    PENLIGHT_TRY(expect_dtype(ctx, "out0", out, input.dtype));
    PENLIGHT_TRY(expect_vector(ctx, "weight", weight, C));
    PENLIGHT_TRY(expect_vector(ctx, "bias", bias, C));
    PENLIGHT_TRY(resize_like(ctx, out, input));
    PENLIGHT_TRY(expect_contiguous(ctx, "out0", out));
    const int64_t shape[] = {N, group};
    PENLIGHT_TRY(resize(ctx, mean, 2, shape));
    PENLIGHT_TRY(resize(ctx, rstd, 2, shape));
    PENLIGHT_TRY(expect_vector(ctx, "out1", &mean, mean.numel()));
    PENLIGHT_TRY(expect_vector(ctx, "out2", &rstd, mean.numel()));
    return with_real(ctx, input, [&](auto zero) {
        group_norm_runs<decltype(zero)>(ctx, input, mean.numel(), C / group, HxW, group, weight,
                                        bias, eps, out, mean, rstd);
        return Status::ok;
    });
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(native_group_norm_out)
