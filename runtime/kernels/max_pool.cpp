// max_pool with indices: positions in the flattened input plane, int64. NaN counts as greatest.
#include <algorithm>
#include <cinttypes>

#include "pooling.h"

namespace penlight::kernels {

// The least value of a dtype.
template <class T> static T lowest() {
    using C = PoolType<T>;
    if constexpr (is_real<C>) {
        return convert<T>(-std::numeric_limits<C>::infinity());
    } else if constexpr (std::is_integral_v<T>) {
        return std::numeric_limits<T>::lowest();
    } else {
        return T{};
    }
}

// The greatest of the cells [begin, end) by step, in each dimension, and where it lies. A dilated
// window may step over a narrow input: then it is the least value, and as if at `begin`.
template <class T>
static void window_max(const T* plane, const Planes& in, const int64_t* begin, const int64_t* end,
                       const int64_t* step, T* value, int64_t* where) {
    using C = PoolType<T>;
    int64_t at = (begin[0] * in.size[1] + begin[1]) * in.size[2] + begin[2];
    T best = lowest<T>();
    C greatest = convert<C>(best);
    for (int64_t d = begin[0]; d < end[0]; d += step[0]) {
        for (int64_t h = begin[1]; h < end[1]; h += step[1]) {
            const T* row = plane + d * in.stride[0] + h * in.stride[1];
            for (int64_t w = begin[2]; w < end[2]; w += step[2]) {
                const T element = row[w * in.stride[2]];
                const C candidate = convert<C>(element);
                if (candidate > greatest || candidate != candidate) {
                    greatest = candidate;
                    best = element;
                    at = (d * in.size[1] + h) * in.size[2] + w;
                }
            }
        }
    }
    *value = best;
    *where = at;
}

// bounds(cell, begin, end) gives the window of an output cell.
template <class F>
static void max_planes(Context& ctx, const Tensor& self, int32_t dims, const int64_t* step,
                       const F& bounds, Tensor& out, Tensor& indices) {
    const Planes in = planes_of(self, dims), to = planes_of(out, dims);
    const Planes where = planes_of(indices, dims);
    visit_dtype(self.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        ctx.parallel_for(to.count(), grain_for(in.volume()), [&](int64_t first, int64_t last) {
            for (int64_t p = first; p < last; p++) {
                const T* plane = self.ptr<T>() + in.offset(p);
                T* values = out.ptr<T>() + to.offset(p);
                int64_t* index = indices.ptr<int64_t>() + where.offset(p);
                for_cells(to, [&](int64_t at, const int64_t* cell) {
                    int64_t begin[3], end[3];
                    bounds(in, to, cell, begin, end);
                    int64_t* place = index + cell[0] * where.stride[0] + cell[1] * where.stride[1] +
                                     cell[2] * where.stride[2];
                    window_max(plane, in, begin, end, step, values + at, place);
                });
            }
        });
    });
}

static Status max_pool(Context& ctx, int32_t dims, const Tensor& self, const IntList& kernel_size,
                       const IntList& stride, const IntList& padding, const IntList& dilation,
                       bool ceil_mode, Tensor& out, Tensor& indices) {
    Window w;
    PENLIGHT_TRY(read_window(ctx, dims, kernel_size, stride, padding, &dilation, ceil_mode, &w));
    PENLIGHT_TRY(expect_dtype(ctx, "indices", indices, PENLIGHT_INT64));
    PENLIGHT_TRY(resize_pooled(ctx, self, dims, w, out, &indices));
    auto bounds = [&w](const Planes& in, const Planes&, const int64_t* cell, int64_t* begin,
                       int64_t* end) {
        for (int i = 0; i < 3; i++) {
            const int64_t start = cell[i] * w.stride[i] - w.padding[i];
            const int64_t skipped = start < 0 ? (-start + w.dilation[i] - 1) / w.dilation[i] : 0;
            begin[i] = start + skipped * w.dilation[i];
            end[i] = std::min(start + (w.kernel[i] - 1) * w.dilation[i] + 1, in.size[i]);
        }
    };
    max_planes(ctx, self, dims, w.dilation, bounds, out, indices);
    return Status::ok;
}

static Status max_pool2d_with_indices_out(Context& ctx, const Tensor& self, IntList kernel_size,
                                          IntList stride, IntList padding, IntList dilation,
                                          bool ceil_mode, Tensor& out, Tensor& indices) {
    return max_pool(ctx, 2, self, kernel_size, stride, padding, dilation, ceil_mode, out, indices);
}

static Status max_pool3d_with_indices_out(Context& ctx, const Tensor& self, IntList kernel_size,
                                          IntList stride, IntList padding, IntList dilation,
                                          bool ceil_mode, Tensor& out, Tensor& indices) {
    return max_pool(ctx, 3, self, kernel_size, stride, padding, dilation, ceil_mode, out, indices);
}

static Status adaptive_max_pool(Context& ctx, int32_t dims, const Tensor& self,
                                const IntList& output_size, Tensor& out, Tensor& indices) {
    int64_t sizes[3];
    if (output_size.size() != static_cast<uint32_t>(dims)) {
        return ctx.fail("expected %d output sizes but got %u", dims, output_size.size());
    }
    for (int32_t i = 0; i < dims; i++) sizes[i] = output_size[static_cast<uint32_t>(i)];
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    PENLIGHT_TRY(expect_dtype(ctx, "indices", indices, PENLIGHT_INT64));
    PENLIGHT_TRY(resize_spatial(ctx, self, dims, sizes, out));
    PENLIGHT_TRY(resize_spatial(ctx, self, dims, sizes, indices));
    auto bounds = [](const Planes& in, const Planes& to, const int64_t* cell, int64_t* begin,
                     int64_t* end) {
        for (int i = 0; i < 3; i++) {
            begin[i] = adaptive_begin(cell[i], in.size[i], to.size[i]);
            end[i] = adaptive_end(cell[i], in.size[i], to.size[i]);
        }
    };
    constexpr int64_t step[] = {1, 1, 1};
    max_planes(ctx, self, dims, step, bounds, out, indices);
    return Status::ok;
}

static Status adaptive_max_pool2d_out(Context& ctx, const Tensor& self, IntList output_size,
                                      Tensor& out, Tensor& indices) {
    return adaptive_max_pool(ctx, 2, self, output_size, out, indices);
}

static Status adaptive_max_pool3d_out(Context& ctx, const Tensor& self, IntList output_size,
                                      Tensor& out, Tensor& indices) {
    return adaptive_max_pool(ctx, 3, self, output_size, out, indices);
}

// grad_input[indices[o]] += grad_output[o] in every plane.
static Status max_pool2d_with_indices_backward_out(Context& ctx, const Tensor& grad_output,
                                                   const Tensor& self, IntList kernel_size,
                                                   IntList stride, IntList padding,
                                                   IntList dilation, bool ceil_mode,
                                                   const Tensor& indices, Tensor& grad_input) {
    Window w;
    PENLIGHT_TRY(read_window(ctx, 2, kernel_size, stride, padding, &dilation, ceil_mode, &w));
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 3, 4));
    PENLIGHT_TRY(expect_dtype(ctx, "grad_output", grad_output, grad_input.dtype));
    PENLIGHT_TRY(expect_contiguous(ctx, "grad_output", grad_output));
    PENLIGHT_TRY(expect_contiguous(ctx, "indices", indices));
    PENLIGHT_TRY(expect_dtype(ctx, "indices", indices, PENLIGHT_INT64));
    PENLIGHT_TRY(resize_like(ctx, grad_input, self));
    PENLIGHT_TRY(expect_contiguous(ctx, "grad_input", grad_input));
    const Planes in = planes_of(grad_input, 2);
    PENLIGHT_TRY(expect_indices(ctx, "indices", indices, in.volume(), false));
    bool same = grad_output.rank == self.rank && indices.rank == self.rank;
    for (int32_t d = 0; same && d < self.rank; d++) {
        same = grad_output.sizes[d] == indices.sizes[d] &&
               (d >= self.rank - 2 || indices.sizes[d] == self.sizes[d]);
    }
    if (!same) {
        return ctx.fail("expected grad_output and indices of one shape but got %s and %s",
                        ShapeText(grad_output).text, ShapeText(indices).text);
    }
    const int64_t cells = planes_of(grad_output, 2).volume(), volume = in.volume();
    const bool known = visit_floating(grad_input.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        ctx.parallel_for(in.count(), grain_for(volume), [&](int64_t first, int64_t last) {
            for (int64_t p = first; p < last; p++) {
                T* to = grad_input.ptr<T>() + p * volume;
                const T* from = grad_output.ptr<T>() + p * cells;
                const int64_t* index = indices.ptr<int64_t>() + p * cells;
                std::fill(to, to + volume, T{});
                for (int64_t i = 0; i < cells; i++) {
                    to[index[i]] = convert<T>(convert<PoolType<T>>(to[index[i]]) +
                                              convert<PoolType<T>>(from[i]));
                }
            }
        });
    });
    if (known) return Status::ok;
    return ctx.fail("expected a floating dtype but got %s", dtype_name(grad_input.dtype));
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(max_pool2d_with_indices_out)
PENLIGHT_DEFINE_KERNEL(max_pool3d_with_indices_out)
PENLIGHT_DEFINE_KERNEL(adaptive_max_pool2d_out)
PENLIGHT_DEFINE_KERNEL(adaptive_max_pool3d_out)
PENLIGHT_DEFINE_KERNEL(max_pool2d_with_indices_backward_out)
