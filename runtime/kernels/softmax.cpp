// softmax and log_softmax along one dimension: y = e^(x - m) / s, log y = x - m - log s, with m the
// row's maximum and s = sum e^(x - m). A row with a NaN or whose maximum is infinite is all NaN.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "normalisation.h"

#define PENLIGHT_TARGET_SOURCE "softmax.simd.h"
#define PENLIGHT_TARGET_FLOAT_ONLY
#include "simd/for_each_target.h"

namespace penlight::kernels {

namespace {

// The steps on floats, of the instruction set in use; on doubles, in plain C++.
template <class C> struct Steps {
    explicit Steps(Isa) {}
    C max(const C* x, int64_t n, C most) const {
        for (int64_t i = 0; i < n; i++) most = x[i] > most ? x[i] : most;
        return most;
    }
    C exp_sum(const C* x, int64_t n, C m, C* y) const {
        C sum = 0;
        for (int64_t i = 0; i < n; i++) sum += y[i] = std::exp(x[i] - m);
        return sum;
    }
    void scale(const C* x, int64_t n, C scale, C* y) const {
        for (int64_t i = 0; i < n; i++) y[i] = x[i] * scale;
    }
    void max_across(const C* x, int64_t n, C* m) const {
        for (int64_t i = 0; i < n; i++) m[i] = x[i] > m[i] ? x[i] : m[i];
    }
    void exp_across(const C* x, int64_t n, const C* m, C* y, C* sum) const {
        for (int64_t i = 0; i < n; i++) sum[i] += y[i] = std::exp(x[i] - m[i]);
    }
};

template <> struct Steps<float> {
    float (*max)(const float*, int64_t, float);
    float (*exp_sum)(const float*, int64_t, float, float*);
    void (*scale)(const float*, int64_t, float, float*);
    void (*max_across)(const float*, int64_t, float*);
    void (*exp_across)(const float*, int64_t, const float*, float*, float*);
    explicit Steps(Isa isa)
        : max(PENLIGHT_SELECT_FLOAT(isa, softmax_max)),
          exp_sum(PENLIGHT_SELECT_FLOAT(isa, softmax_exp_sum)),
          scale(PENLIGHT_SELECT_FLOAT(isa, softmax_scale)),
          max_across(PENLIGHT_SELECT_FLOAT(isa, softmax_max_across)),
          exp_across(PENLIGHT_SELECT_FLOAT(isa, softmax_exp_across)) {}
};

template <class C> bool has_nan(const C* x, int64_t n) {
    int found = 0;
    for (int64_t i = 0; i < n; i++) found |= x[i] != x[i];
    return found != 0;
}

// One contiguous row [n] at `first`.
template <class C>
void softmax_row(const Steps<C>& steps, Source<C>& x, Sink<C>& y, int64_t first, int64_t n,
                 bool log) {
    constexpr C infinity = std::numeric_limits<C>::infinity();
    C m = -infinity, sum = 0;
    bool nan = false;
    for_blocks(n, [&](int64_t i, int64_t count) {
        const C* p = x.get(first + i, count);
        nan = nan || has_nan(p, count);
        m = steps.max(p, count, m);
    });
    nan = nan || m == infinity || m == -infinity;
    const bool in_place = y.in_place() && !log;
    C scratch[block_size];
    if (!nan) {
        for_blocks(n, [&](int64_t i, int64_t count) {
            sum += steps.exp_sum(x.get(first + i, count), count, m,
                                 in_place ? y.at(first + i) : scratch);
        });
    }
    const C log_sum = std::log(sum);
    for_blocks(n, [&](int64_t i, int64_t count) {
        C* to = y.at(first + i);
        if (nan) {
            std::fill(to, to + count, std::numeric_limits<C>::quiet_NaN());
        } else if (log) {
            const C* p = x.get(first + i, count);
            for (int64_t k = 0; k < count; k++) to[k] = p[k] - m - log_sum;
        } else {
            if (!in_place) steps.exp_sum(x.get(first + i, count), count, m, to);
            steps.scale(to, count, 1 / sum, to);
        }
        y.put(first + i, count);
    });
}

// `width` neighbouring rows at once, whose elements lie `inner` apart.
template <class C>
void softmax_across(const Steps<C>& steps, Source<C>& x, Sink<C>& y, int64_t first, int64_t n,
                    int64_t inner, int64_t width, bool log) {
    constexpr C infinity = std::numeric_limits<C>::infinity();
    C m[block_size], sum[block_size], shift[block_size];
    bool nan[block_size] = {};
    std::fill(m, m + width, -infinity);
    std::fill(sum, sum + width, C{0});
    for (int64_t j = 0; j < n; j++) {
        const C* p = x.get(first + j * inner, width);
        for (int64_t k = 0; k < width; k++) nan[k] |= p[k] != p[k];
        steps.max_across(p, width, m);
    }
    for (int64_t j = 0; j < n; j++) {
        steps.exp_across(x.get(first + j * inner, width), width, m, shift, sum);
    }
    for (int64_t k = 0; k < width; k++) {
        if (nan[k] || m[k] == infinity || m[k] == -infinity) {
            sum[k] = std::numeric_limits<C>::quiet_NaN();
        }
        shift[k] = log ? std::log(sum[k]) : 1 / sum[k];
    }
    for (int64_t j = 0; j < n; j++) {
        const C* p = x.get(first + j * inner, width);
        C* to = y.at(first + j * inner);
        if (log) {
            for (int64_t k = 0; k < width; k++) to[k] = p[k] - m[k] - shift[k];
        } else {
            C unused[block_size] = {};
            steps.exp_across(p, width, m, to, unused);
            for (int64_t k = 0; k < width; k++) to[k] *= shift[k];
        }
        y.put(first + j * inner, width);
    }
}

template <class C>
Status softmax_as(Context& ctx, const Tensor& self, const Axis& axis, bool log, Tensor& out) {
    const Steps<C> steps(ctx.isa);
    const int64_t n = axis.size;
    if (axis.inner == 1) {
        ctx.parallel_for(axis.outer, grain_for(4 * n), [&](int64_t begin, int64_t end) {
            Source<C> x(&self);
            Sink<C> y(out);
            for (int64_t r = begin; r < end; r++) softmax_row(steps, x, y, r * n, n, log);
        });
        return Status::ok;
    }
    const int64_t pieces = (axis.inner + block_size - 1) / block_size;
    ctx.parallel_for(axis.outer * pieces, 1, [&](int64_t begin, int64_t end) {
        Source<C> x(&self);
        Sink<C> y(out);
        for (int64_t p = begin; p < end; p++) {
            const int64_t start = p % pieces * block_size;
            const int64_t width = std::min(block_size, axis.inner - start);
            softmax_across(steps, x, y, p / pieces * n * axis.inner + start, n, axis.inner, width,
                           log);
        }
    });
    return Status::ok;
}

// Rows of tensors whose dim orders differ: one at a time, through the buffers.
template <class C>
Status softmax_strided(Context& ctx, const Tensor& self, int32_t dim, bool log, Tensor& out) {
    const Steps<C> steps(ctx.isa);
    View rows = view_of(self), to = view_of(out);
    const int64_t n = self.sizes[dim];
    rows.erase(dim);
    to.erase(dim);
    ctx.parallel_for(self.numel() / n, grain_for(4 * n), [&](int64_t begin, int64_t end) {
        Source<C> x(&self);
        Sink<C> y(out);
        x.stride = self.strides[dim];
        y.stride = out.strides[dim];
        Odometer<2> at{rows.rank, rows.sizes, {rows.strides, to.strides}, {}, {}};
        at.seek(begin);
        for (int64_t r = begin; r < end; r++, at.next()) {
            x.base = at.offset[0];
            y.base = at.offset[1];
            softmax_row(steps, x, y, 0, n, log);
        }
    });
    return Status::ok;
}

Status softmax(Context& ctx, const Tensor& self, int64_t dim, bool log, Tensor& out) {
    int32_t d;
    Axis axis;
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank, &d));
    if (!is_floating(out.dtype)) {
        return ctx.fail("expected out of a floating dtype but got %s", dtype_name(out.dtype));
    }
    PENLIGHT_TRY(resize_like(ctx, out, self));
    if (self.numel() == 0) return Status::ok;
    const bool same = same_layout(self, out);
    if (same) PENLIGHT_TRY(split_axis(ctx, self, out, d, &axis));
    return with_real(ctx, self, [&](auto zero) {
        return same ? softmax_as<decltype(zero)>(ctx, self, axis, log, out)
                    : softmax_strided<decltype(zero)>(ctx, self, d, log, out);
    });
}

}  // namespace

// half_to_float: out is float32 although self is half; the dtypes themselves say so.
static Status softmax_out(Context& ctx, const Tensor& self, int64_t dim, bool, Tensor& out) {
    return softmax(ctx, self, dim, false, out);
}

static Status log_softmax_out(Context& ctx, const Tensor& self, int64_t dim, bool, Tensor& out) {
    return softmax(ctx, self, dim, true, out);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(softmax_out)
PENLIGHT_DEFINE_KERNEL(log_softmax_out)
