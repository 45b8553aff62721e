// What the pooling kernels share: windows over 1 to 3 spatial dimensions, always taken as 3.
#pragma once

#include "dtype.h"
#include "movement.h"

namespace penlight::kernels {

struct Window {
    int64_t kernel[3], stride[3], padding[3], dilation[3];
    bool ceil_mode;
};

// The file's lists to a window over the last `dims` dimensions; a list of one number stands for
// all, an empty stride for the kernel's size. `dilation` may be null.
Status read_window(Context& ctx, int32_t dims, const IntList& kernel, const IntList& stride,
                   const IntList& padding, const IntList* dilation, bool ceil_mode, Window* window);

// Planes [D, H, W] of an input or output [N, C, ...] or [C, ...], strides in elements.
struct Planes {
    int64_t batch, channels, size[3];
    int64_t batch_stride, channel_stride, stride[3];
    int64_t count() const { return batch * channels; }
    int64_t volume() const { return size[0] * size[1] * size[2]; }
    int64_t offset(int64_t plane) const {
        return plane / channels * batch_stride + plane % channels * channel_stride;
    }
};
Planes planes_of(const Tensor& t, int32_t dims);

// self's shape with the last `dims` sizes replaced.
Status resize_spatial(Context& ctx, const Tensor& self, int32_t dims, const int64_t* sizes,
                      Tensor& out);

// Checks self and gives out (and a second output, unless null) the pooled shape.
Status resize_pooled(Context& ctx, const Tensor& self, int32_t dims, const Window& window,
                     Tensor& out, Tensor* second);

// The cells [begin, end) of the input that adaptive pooling assigns to output cell o.
inline int64_t adaptive_begin(int64_t o, int64_t in, int64_t out) {
    return o / out * in + o % out * in / out;
}
inline int64_t adaptive_end(int64_t o, int64_t in, int64_t out) {
    return 1 + ((o + 1) * in - 1) / out;
}

// body(output position in the plane, {d, h, w}) over a plane of the output.
template <class F> void for_cells(const Planes& out, const F& body) {
    int64_t cell[3];
    for (cell[0] = 0; cell[0] < out.size[0]; cell[0]++) {
        for (cell[1] = 0; cell[1] < out.size[1]; cell[1]++) {
            for (cell[2] = 0; cell[2] < out.size[2]; cell[2]++) {
                body(cell[0] * out.stride[0] + cell[1] * out.stride[1] + cell[2] * out.stride[2],
                     cell);
            }
        }
    }
}

// The type a dtype is averaged and compared in.
template <class T>
using PoolType =
    std::conditional_t<std::is_same_v<T, double>, double,
                       std::conditional_t<std::is_same_v<T, float> || std::is_same_v<T, Half> ||
                                              std::is_same_v<T, BFloat16>,
                                          float, int64_t>>;

}  // namespace penlight::kernels
