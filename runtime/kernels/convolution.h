// What the ways of computing a convolution share.
#pragma once

#include "dtype.h"

namespace penlight::kernels {

// One, two or three spatial dimensions, as three: missing ones come first, with size and stride 1.
struct ConvolutionShape {
    int64_t batch, groups;
    int64_t in_channels, out_channels;  // of one group
    int64_t in[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    bool transposed;
    // Element strides of input and output: batch, channel, then the spatial dimensions.
    int64_t in_strides[5], out_strides[5];
    // Of the weight, from one output channel of a group, input channel of a group, or group to the
    // next, and between neighbours of the kernel window, which lies without gaps.
    int64_t weight_out, weight_in, weight_group, weight_tap;

    int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
    int64_t pixels() const { return out[0] * out[1] * out[2]; }
};

// Each channel by itself (groups = input channels), in two dimensions and computed in float.
bool is_depthwise(const ConvolutionShape& s, int32_t dtype);
size_t depthwise_scratch(uint32_t threads, const ConvolutionShape& s);
Status convolve_depthwise(Context& ctx, const ConvolutionShape& s, const Tensor& input,
                          const Tensor& weight, const Tensor* bias, Tensor& out);

// A plane as the vector code sees it.
struct DepthwisePlane {
    const float* plane;   // [rows][phases][phase_width], padded; column x lies at
                          // [x % phases][x / phases], phases = horizontal stride
    const float* weight;  // [kernel height][kernel width]
    int64_t kernel[2], stride[2], dilation[2];
    int64_t out_width, phase_width;
};

}  // namespace penlight::kernels
