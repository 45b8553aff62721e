// Batch normalisation over dim 1: y = (x - mean) / sqrt(variance + eps) * weight + bias.
#include <algorithm>
#include <cmath>

#include "normalisation.h"

namespace penlight::kernels {

// y = x * scale + shift, for one channel.
struct Affine {
    double scale, shift;
};

// How to normalise channel c.
struct Channels {
    const Tensor *weight, *bias, *mean,
        *deviation;  // deviation: a variance, or 1 / sqrt(var + eps)
    bool inverted;   // ... the latter
    double eps;
    Affine operator()(int64_t c) const {
        const double d = real_at(*deviation, c);
        const double scale = (weight == nullptr ? 1.0 : real_at(*weight, c)) *
                             (inverted ? d : 1 / std::sqrt(d + eps));
        return {scale, (bias == nullptr ? 0.0 : real_at(*bias, c)) - real_at(*mean, c) * scale};
    }
};

// [outer][C][inner] with inner > 1: a run has one channel.
template <class C>
static void normalise_runs(Context& ctx, const Tensor& input, const Axis& axis,
                           const Channels& channels, Tensor& out) {
    ctx.parallel_for(
        axis.outer * axis.size, grain_for(axis.inner), [&](int64_t first, int64_t last) {
            Source<C> x(&input);
            Sink<C> y(out);
            for (int64_t r = first; r < last; r++) {
                const Affine a = channels(r % axis.size);
                const C scale = static_cast<C>(a.scale), shift = static_cast<C>(a.shift);
                for_blocks(axis.inner, [&](int64_t i, int64_t count) {
                    const C* from = x.get(r * axis.inner + i, count);
                    C* to = y.at(r * axis.inner + i);
                    for (int64_t k = 0; k < count; k++) to[k] = from[k] * scale + shift;
                    y.put(r * axis.inner + i, count);
                });
            }
        });
}

// [outer][C], channels innermost: a run has all channels, and each its own numbers.
template <class C>
static void normalise_places(Context& ctx, const Tensor& input, const Axis& axis,
                             const Channels& channels, Tensor& out) {
    ctx.parallel_for(axis.outer, grain_for(axis.size), [&](int64_t first, int64_t last) {
        Source<C> x(&input);
        Sink<C> y(out);
        for_blocks(axis.size, [&](int64_t c, int64_t count) {
            C scale[block_size], shift[block_size];
            for (int64_t k = 0; k < count; k++) {
                const Affine a = channels(c + k);
                scale[k] = static_cast<C>(a.scale), shift[k] = static_cast<C>(a.shift);
            }
            for (int64_t r = first; r < last; r++) {
                const C* from = x.get(r * axis.size + c, count);
                C* to = y.at(r * axis.size + c);
                for (int64_t k = 0; k < count; k++) to[k] = from[k] * scale[k] + shift[k];
                y.put(r * axis.size + c, count);
            }
        });
    });
}

static Status prepare(Context& ctx, const Tensor& input, const Tensor* weight, const Tensor* bias,
                      Tensor& out, Axis* axis) {
    PENLIGHT_TRY(expect_rank(ctx, "input", input, 2, max_rank));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, input.dtype));
    PENLIGHT_TRY(expect_vector(ctx, "weight", weight, input.sizes[1]));
    PENLIGHT_TRY(expect_vector(ctx, "bias", bias, input.sizes[1]));
    PENLIGHT_TRY(resize_like(ctx, out, input));
    return split_axis(ctx, input, out, 1, axis);
}

static Status normalise(Context& ctx, const Tensor& input, const Axis& memory,
                        const Channels& channels, Tensor& out) {
    if (input.numel() == 0) return Status::ok;
    Axis axis = memory;
    // One channel: its elements are one run.
    if (axis.size == 1) axis.inner = input.numel(), axis.outer = 1;
    return with_real(ctx, input, [&](auto zero) {
        using C = decltype(zero);
        if (axis.inner == 1) {
            normalise_places<C>(ctx, input, axis, channels, out);
        } else {
            normalise_runs<C>(ctx, input, axis, channels, out);
        }
        return Status::ok;
    });
}

// Mean and biased variance of channel c, over [outer] x [inner].
static Moments<double> channel_moments(const Tensor& input, const Axis& axis, int64_t c) {
    Moments<double> m{0, 0};
    visit_floating(input.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        const T* x = input.ptr<T>() + c * axis.inner;
        const double n = static_cast<double>(axis.outer * axis.inner);
        for (int pass = 0; pass < 2; pass++) {
            double sum = 0;
            for (int64_t o = 0; o < axis.outer; o++) {
                const T* run = x + o * axis.size * axis.inner;
                for (int64_t i = 0; i < axis.inner; i++) {
                    const double v = convert<double>(run[i]) - m.mean;
                    sum += pass == 0 ? v : v * v;
                }
            }
            (pass == 0 ? m.mean : m.variance) = sum / n;
        }
    });
    return m;
}

// Normalises by the batch's own moments, and lets running statistics (or null) follow them.
static Status train(Context& ctx, const Tensor& input, const Tensor* weight, const Tensor* bias,
                    Tensor* running_mean, Tensor* running_var, double momentum, double eps,
                    Tensor& out, Tensor& save_mean, Tensor& save_invstd) {
    Axis axis;
    PENLIGHT_TRY(prepare(ctx, input, weight, bias, out, &axis));
    const int64_t channels = input.sizes[1];
    PENLIGHT_TRY(resize(ctx, save_mean, 1, &channels));
    PENLIGHT_TRY(resize(ctx, save_invstd, 1, &channels));
    PENLIGHT_TRY(expect_vector(ctx, "save_mean", &save_mean, channels));
    PENLIGHT_TRY(expect_vector(ctx, "save_invstd", &save_invstd, channels));
    PENLIGHT_TRY(expect_vector(ctx, "running_mean", running_mean, channels));
    PENLIGHT_TRY(expect_vector(ctx, "running_var", running_var, channels));
    const double n = static_cast<double>(axis.outer * axis.inner);
    ctx.parallel_for(
        channels, grain_for(axis.outer * axis.inner), [&](int64_t first, int64_t last) {
            for (int64_t c = first; c < last; c++) {
                const Moments<double> m = channel_moments(input, axis, c);
                set_real(save_mean, c, m.mean);
                set_real(save_invstd, c, 1 / std::sqrt(m.variance + eps));
                if (running_mean != nullptr) {
                    set_real(*running_mean, c,
                             (1 - momentum) * real_at(*running_mean, c) + momentum * m.mean);
                }
                if (running_var != nullptr) {
                    set_real(*running_var, c,
                             (1 - momentum) * real_at(*running_var, c) +
                                 momentum * m.variance * n / (n - 1));
                }
            }
        });
    return normalise(ctx, input, axis, {weight, bias, &save_mean, &save_invstd, true, eps}, out);
}

// save_mean and save_invstd are empty: nothing is learnt from the batch.
static Status batch_norm_no_training_out(Context& ctx, const Tensor& input, const Tensor* weight,
                                         const Tensor* bias, const Tensor& running_mean,
                                         const Tensor& running_var, double, double eps, Tensor& out,
                                         Tensor& save_mean, Tensor& save_invstd) {
    Axis axis;
    PENLIGHT_TRY(prepare(ctx, input, weight, bias, out, &axis));
    PENLIGHT_TRY(expect_vector(ctx, "running_mean", &running_mean, input.sizes[1]));
    PENLIGHT_TRY(expect_vector(ctx, "running_var", &running_var, input.sizes[1]));
    const int64_t none = 0;
    PENLIGHT_TRY(resize(ctx, save_mean, 1, &none));
    PENLIGHT_TRY(resize(ctx, save_invstd, 1, &none));
    return normalise(ctx, input, axis, {weight, bias, &running_mean, &running_var, false, eps},
                     out);
}

static Status batch_norm_no_stats_out(Context& ctx, const Tensor& input, const Tensor* weight,
                                      const Tensor* bias, bool training, double momentum,
                                      double eps, Tensor& out, Tensor& save_mean,
                                      Tensor& save_invstd) {
    if (!training) return ctx.fail("expected training, as there are no statistics, but got none");
    return train(ctx, input, weight, bias, nullptr, nullptr, momentum, eps, out, save_mean,
                 save_invstd);
}

static Status batch_norm_out(Context& ctx, const Tensor& input, const Tensor* weight,
                             const Tensor* bias, Tensor& running_mean, Tensor& running_var,
                             bool training, double momentum, double eps, Tensor& out,
                             Tensor& save_mean, Tensor& save_invstd) {
    if (training) {
        return train(ctx, input, weight, bias, &running_mean, &running_var, momentum, eps, out,
                     save_mean, save_invstd);
    }
    return batch_norm_no_training_out(ctx, input, weight, bias, running_mean, running_var, momentum,
                                      eps, out, save_mean, save_invstd);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(batch_norm_no_training_out)
PENLIGHT_DEFINE_KERNEL(batch_norm_no_stats_out)
PENLIGHT_DEFINE_KERNEL(batch_norm_out)
