// avg_pool and adaptive average pooling in 1, 2 and 3 dimensions.
#include <algorithm>
#include <cinttypes>

#include "pooling.h"

namespace penlight::kernels {

// One window: cells [begin, end) in each dimension, and what their sum is divided by.
struct Cells {
    int64_t begin[3], end[3], divisor;
};

template <class T>
static PoolType<T> window_sum(const T* plane, const Planes& in, const Cells& cells) {
    PoolType<T> sum = 0;
    for (int64_t d = cells.begin[0]; d < cells.end[0]; d++) {
        for (int64_t h = cells.begin[1]; h < cells.end[1]; h++) {
            const T* row = plane + d * in.stride[0] + h * in.stride[1];
            for (int64_t w = cells.begin[2]; w < cells.end[2]; w++) {
                sum += convert<PoolType<T>>(row[w * in.stride[2]]);
            }
        }
    }
    return sum;
}

// The mean of a whole contiguous plane, summed in 8 lanes so that it can be vectorised.
template <class T> static PoolType<T> plane_sum(const T* plane, int64_t count) {
    PoolType<T> lanes[8] = {};
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        for (int k = 0; k < 8; k++) lanes[k] += convert<PoolType<T>>(plane[i + k]);
    }
    for (; i < count; i++) lanes[0] += convert<PoolType<T>>(plane[i]);
    return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) +
           ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

// window(in, to, cell) gives the Cells of an output cell.
template <class F>
static Status average_planes(Context& ctx, const Tensor& self, int32_t dims, const F& window,
                             Tensor& out) {
    const Planes in = planes_of(self, dims), to = planes_of(out, dims);
    const bool dense = in.stride[2] == 1 && in.stride[1] == in.size[2] &&
                       (in.size[0] == 1 || in.stride[0] == in.size[1] * in.size[2]);
    if (!is_floating(self.dtype) && self.dtype != PENLIGHT_INT64) {
        return ctx.fail("expected self of a floating dtype or int64 but got %s",
                        dtype_name(self.dtype));
    }
    visit_dtype(self.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        ctx.parallel_for(to.count(), grain_for(in.volume()), [&](int64_t first, int64_t last) {
            for (int64_t p = first; p < last; p++) {
                const T* plane = self.ptr<T>() + in.offset(p);
                T* values = out.ptr<T>() + to.offset(p);
                for_cells(to, [&](int64_t at, const int64_t* cell) {
                    const Cells cells = window(in, to, cell);
                    const int64_t area = (cells.end[0] - cells.begin[0]) *
                                         (cells.end[1] - cells.begin[1]) *
                                         (cells.end[2] - cells.begin[2]);
                    const PoolType<T> sum = dense && area == in.volume()
                                                ? plane_sum(plane, area)
                                                : window_sum(plane, in, cells);
                    values[at] = convert<T>(
                        static_cast<PoolType<T>>(sum / static_cast<PoolType<T>>(cells.divisor)));
                });
            }
        });
    });
    return Status::ok;
}

static Status avg_pool(Context& ctx, int32_t dims, const Tensor& self, const IntList& kernel_size,
                       const IntList& stride, const IntList& padding, bool ceil_mode,
                       bool count_include_pad, std::optional<int64_t> divisor_override,
                       Tensor& out) {
    Window w;
    PENLIGHT_TRY(read_window(ctx, dims, kernel_size, stride, padding, nullptr, ceil_mode, &w));
    if (divisor_override && *divisor_override == 0) {
        return ctx.fail("expected a divisor_override other than 0 but got 0");
    }
    PENLIGHT_TRY(resize_pooled(ctx, self, dims, w, out, nullptr));
    auto window = [&](const Planes& in, const Planes&, const int64_t* cell) {
        Cells c;
        int64_t padded = 1, area = 1;
        for (int i = 0; i < 3; i++) {
            const int64_t start = cell[i] * w.stride[i] - w.padding[i];
            const int64_t stop = std::min(start + w.kernel[i], in.size[i] + w.padding[i]);
            padded *= stop - start;
            c.begin[i] = std::max<int64_t>(start, 0);
            c.end[i] = std::max(std::min(stop, in.size[i]), c.begin[i]);
            area *= c.end[i] - c.begin[i];
        }
        c.divisor = divisor_override    ? *divisor_override
                    : area == 0         ? 1  // nothing but padding: 0
                    : count_include_pad ? padded
                                        : area;
        return c;
    };
    return average_planes(ctx, self, dims, window, out);
}

static Status avg_pool1d_out(Context& ctx, const Tensor& self, IntList kernel_size, IntList stride,
                             IntList padding, bool ceil_mode, bool count_include_pad, Tensor& out) {
    return avg_pool(ctx, 1, self, kernel_size, stride, padding, ceil_mode, count_include_pad,
                    std::nullopt, out);
}

static Status avg_pool2d_out(Context& ctx, const Tensor& self, IntList kernel_size, IntList stride,
                             IntList padding, bool ceil_mode, bool count_include_pad,
                             std::optional<int64_t> divisor_override, Tensor& out) {
    return avg_pool(ctx, 2, self, kernel_size, stride, padding, ceil_mode, count_include_pad,
                    divisor_override, out);
}

static Status avg_pool3d_out(Context& ctx, const Tensor& self, IntList kernel_size, IntList stride,
                             IntList padding, bool ceil_mode, bool count_include_pad,
                             std::optional<int64_t> divisor_override, Tensor& out) {
    return avg_pool(ctx, 3, self, kernel_size, stride, padding, ceil_mode, count_include_pad,
                    divisor_override, out);
}

static Status adaptive_avg_pool(Context& ctx, int32_t dims, const Tensor& self,
                                const IntList& output_size, Tensor& out) {
    int64_t sizes[3];
    if (output_size.size() != static_cast<uint32_t>(dims)) {
        return ctx.fail("expected %d output sizes but got %u", dims, output_size.size());
    }
    for (int32_t i = 0; i < dims; i++) sizes[i] = output_size[static_cast<uint32_t>(i)];
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    PENLIGHT_TRY(resize_spatial(ctx, self, dims, sizes, out));
    auto window = [](const Planes& in, const Planes& to, const int64_t* cell) {
        Cells c;
        c.divisor = 1;
        for (int i = 0; i < 3; i++) {
            c.begin[i] = adaptive_begin(cell[i], in.size[i], to.size[i]);
            c.end[i] = adaptive_end(cell[i], in.size[i], to.size[i]);
            c.divisor *= c.end[i] - c.begin[i];
        }
        return c;
    };
    return average_planes(ctx, self, dims, window, out);
}

static Status adaptive_avg_pool2d_out(Context& ctx, const Tensor& self, IntList output_size,
                                      Tensor& out) {
    return adaptive_avg_pool(ctx, 2, self, output_size, out);
}

static Status adaptive_avg_pool3d_out(Context& ctx, const Tensor& self, IntList output_size,
                                      Tensor& out) {
    return adaptive_avg_pool(ctx, 3, self, output_size, out);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(avg_pool1d_out)
PENLIGHT_DEFINE_KERNEL(avg_pool2d_out)
PENLIGHT_DEFINE_KERNEL(avg_pool3d_out)
PENLIGHT_DEFINE_KERNEL(adaptive_avg_pool2d_out)
PENLIGHT_DEFINE_KERNEL(adaptive_avg_pool3d_out)
