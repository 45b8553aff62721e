// What the upsamplers share: output sizes, the scale between grids, planes of any dim order.
#pragma once

#include "pooling.h"

namespace penlight::kernels {

// Output sizes and scale factors (0: from the sizes) of the last `dims` dimensions.
struct Resample {
    int64_t sizes[2];
    double factor[2];
};

// From the arguments of a .vec overload: sizes, or factors that give them.
Status read_resample(Context& ctx, const Tensor& input, const std::optional<IntList>& output_size,
                     const std::optional<RealList>& scale_factors, Resample* r);
// From sizes and optional factors.
Status read_resample(Context& ctx, int32_t dims, const IntList& output_size,
                     std::optional<double> first, std::optional<double> second, Resample* r);

// How far the input moves for one step of the output.
template <class C> C resample_scale(int64_t in, int64_t out, bool align_corners, double factor) {
    if (align_corners) return out > 1 ? static_cast<C>(in - 1) / static_cast<C>(out - 1) : C{0};
    return factor > 0 ? static_cast<C>(1.0 / factor) : static_cast<C>(in) / static_cast<C>(out);
}

// x as a cell of [0, last]; a hostile factor may have made it infinite or NaN.
template <class C> int64_t cell_at(C x, int64_t last) {
    return x > 0 ? (x < static_cast<C>(last) ? static_cast<int64_t>(x) : last) : 0;
}

}  // namespace penlight::kernels
