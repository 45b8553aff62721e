// y = x / sqrt(mean(x^2) + eps) * (weight + offset) for one row of `width`, for other kernels.
#pragma once

#include "kernel.h"

namespace penlight::kernels {

using RmsNormRow = void (*)(const float* x, const float* weight, int64_t width, float eps,
                            float offset, float* y);
RmsNormRow rms_norm_row_of(Isa isa);

}  // namespace penlight::kernels
