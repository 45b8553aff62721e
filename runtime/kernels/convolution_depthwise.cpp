// Depthwise convolution in two dimensions: each plane is copied into a padded one, with its columns
// sorted by their remainder modulo the horizontal stride, so that every tap of every output row is
// a contiguous run and no pixel needs a bounds check.
#include <algorithm>
#include <atomic>

#include "convolution.h"
#include "slots.h"

#define PENLIGHT_TARGET_FLOAT_ONLY
#define PENLIGHT_TARGET_SOURCE "convolution_depthwise.simd.h"
#include "simd/for_each_target.h"

namespace penlight::kernels {
namespace {

constexpr int64_t widest = 16;  // lanes of any instruction set

int64_t round_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

struct Layout {
    int64_t rows, phase_width, line;  // of the padded plane and of one output row, in floats
    size_t bytes;                     // plane, line and weights; SIZE_MAX on overflow
};

Layout layout_of(const ConvolutionShape& s) {
    Layout l{};
    l.rows = (s.out[1] - 1) * s.stride[1] + (s.kernel[1] - 1) * s.dilation[1] + 1;
    l.line = round_up(s.out[2], widest);
    l.phase_width = l.line + (s.kernel[2] - 1) * s.dilation[2] / s.stride[2] + 1;
    int64_t floats, weights;
    if (__builtin_mul_overflow(l.rows, s.stride[2], &floats) ||
        __builtin_mul_overflow(floats, l.phase_width, &floats) ||
        __builtin_mul_overflow(s.kernel[1], s.kernel[2], &weights) ||
        __builtin_add_overflow(floats, weights, &floats) || floats > (INT64_MAX >> 4) - l.line) {
        l.bytes = SIZE_MAX;
    } else {
        l.bytes = static_cast<size_t>(round_up((floats + l.line) * 4, 64));
    }
    return l;
}

// plane[rows][stride][phase_width] from one channel of the input
void fill_plane(const ConvolutionShape& s, const Layout& l, LoadFunction load, int64_t item,
                const std::byte* channel, float* plane) {
    const int64_t phases = s.stride[2];
    for (int64_t r = 0; r < l.rows; r++) {
        int64_t iy = r - s.padding[1];
        for (int64_t phase = 0; phase < phases; phase++, plane += l.phase_width) {
            int64_t lead = s.padding[2] - phase;  // padded columns before the input's first
            int64_t begin = lead <= 0 ? 0 : (lead + phases - 1) / phases;
            int64_t end = s.in[2] + lead <= 0 ? 0 : (s.in[2] + lead + phases - 1) / phases;
            if (iy < 0 || iy >= s.in[1]) end = 0;
            begin = std::min(begin, l.phase_width);
            end = std::clamp(end, begin, l.phase_width);
            std::fill(plane, plane + begin, 0.0f);
            if (end > begin)
                load(channel +
                         (iy * s.in_strides[3] + (begin * phases - lead) * s.in_strides[4]) * item,
                     phases * s.in_strides[4], end - begin, plane + begin);
            std::fill(plane + end, plane + l.phase_width, 0.0f);
        }
    }
}

}  // namespace

bool is_depthwise(const ConvolutionShape& s, int32_t dtype) {
    return s.groups > 1 && s.in_channels == 1 && !s.transposed && s.in[0] == 1 && s.out[0] == 1 &&
           s.kernel[0] == 1 && compute_type(dtype) == Compute::f32;
}

size_t depthwise_scratch(uint32_t threads, const ConvolutionShape& s) {
    size_t total;
    size_t each = layout_of(s).bytes;
    return each == SIZE_MAX || __builtin_mul_overflow(each, size_t{threads}, &total) ? SIZE_MAX
                                                                                     : total;
}

Status convolve_depthwise(Context& ctx, const ConvolutionShape& s, const Tensor& input,
                          const Tensor& weight, const Tensor* bias, Tensor& out) {
    const Layout l = layout_of(s);
    const int64_t planes = s.batch * s.groups, item = static_cast<int64_t>(item_size(out.dtype));
    const int64_t slots = std::min<int64_t>(
        {ctx.threads(), planes, static_cast<int64_t>(ctx.scratch_size / l.bytes)});
    if (slots == 0 && planes > 0)
        return ctx.fail("expected %zu bytes of scratch memory but got %zu; load the method again",
                        l.bytes, ctx.scratch_size);
    const LoadFunction load = load_function(Compute::f32, out.dtype);
    const StoreFunction store = store_function(Compute::f32, out.dtype);
    auto* line_of = PENLIGHT_SELECT_FLOAT(ctx.isa, depthwise_line);
    std::atomic<int64_t> next{0};
    in_slots(ctx, slots, [&](int64_t slot, const auto& more) {
        auto* plane = reinterpret_cast<float*>(ctx.scratch() + static_cast<size_t>(slot) * l.bytes);
        float* line = plane + l.rows * s.stride[2] * l.phase_width;
        float* taps = line + l.line;
        DepthwisePlane p{plane,
                         taps,
                         {s.kernel[1], s.kernel[2]},
                         {s.stride[1], s.stride[2]},
                         {s.dilation[1], s.dilation[2]},
                         s.out[2],
                         l.phase_width};
        for (int64_t i; more() && (i = next.fetch_add(1, std::memory_order_relaxed)) < planes;) {
            int64_t batch = i / s.groups, channel = i % s.groups;
            const auto* in = static_cast<const std::byte*>(input.data);
            fill_plane(s, l, load, item,
                       in + (batch * s.in_strides[0] + channel * s.in_strides[1]) * item, plane);
            for (int64_t m = 0; m < s.out_channels; m++) {
                int64_t o = channel * s.out_channels + m;
                float offset = 0;
                load(static_cast<const std::byte*>(weight.data) +
                         (channel * s.weight_group + m * s.weight_out) * item,
                     s.weight_tap, s.taps(), taps);
                if (bias)
                    load(static_cast<const std::byte*>(bias->data) + o * bias->stride(0) * item, 1,
                         1, &offset);
                auto* to = static_cast<std::byte*>(out.data) +
                           (batch * s.out_strides[0] + o * s.out_strides[1]) * item;
                for (int64_t oy = 0; oy < s.out[1]; oy++) {
                    line_of(p, oy, offset, line);
                    store(line, s.out_strides[4], s.out[2], to + oy * s.out_strides[3] * item);
                }
            }
        }
    });
    return Status::ok;
}

}  // namespace penlight::kernels
