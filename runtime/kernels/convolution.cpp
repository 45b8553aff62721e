// aten::convolution: one, two or three spatial dimensions, groups, dilation, transposed.
//
// As a matrix product: rows are output channels, columns output pixels, and the depth runs over
// (input channel, kernel tap). The columns are gathered from the input while the product packs
// them, so no im2col buffer exists. Depthwise convolution has its own way (convolution_depthwise).
#include "convolution.h"

#include <algorithm>
#include <cstring>

#include "gemm.h"

namespace penlight::kernels {
namespace {

constexpr int64_t size_limit = int64_t{1} << 30;  // of any number here: no sum below overflows

int64_t item_or(const IntList& list, uint32_t count, uint32_t i) {
    return list.size() == 1 ? list[0] : list.size() == count ? list[i] : -1;
}

bool in_range(const IntList& list, uint32_t dims, int64_t least) {
    for (uint32_t i = 0; i < dims; i++)
        if (item_or(list, dims, i) < least || item_or(list, dims, i) > size_limit) return false;
    return true;
}

Status check_list(Context& ctx, const char* name, const IntList& list, uint32_t dims,
                  int64_t least) {
    if (in_range(list, dims, least)) return Status::ok;
    return ctx.fail("expected %u %s values of at least %lld; check the arguments", dims, name,
                    static_cast<long long>(least));
}

// Spatial dimensions, with those that are missing first.
template <class Read> void spread(int64_t (&to)[3], uint32_t dims, int64_t missing, Read read) {
    for (uint32_t i = 0; i < 3; i++) to[i] = i + dims < 3 ? missing : read(i + dims - 3);
}

struct Arguments {
    const Tensor& input;
    const Tensor& weight;
    IntList stride, padding, dilation;
    bool transposed;
    IntList output_padding;
    int64_t groups;
};

// Everything but the strides, from sizes that have been checked to be in range.
void describe_sizes(const Arguments& a, const int64_t* input, const int64_t* weight,
                    ConvolutionShape& s) {
    const uint32_t dims = static_cast<uint32_t>(a.input.rank) - 2;
    s.batch = input[0];
    s.groups = a.groups;
    s.in_channels = input[1] / a.groups;
    s.out_channels = a.transposed ? weight[1] : weight[0] / a.groups;
    s.transposed = a.transposed;
    spread(s.in, dims, 1, [&](uint32_t i) { return input[2 + i]; });
    spread(s.kernel, dims, 1, [&](uint32_t i) { return weight[2 + i]; });
    spread(s.stride, dims, 1, [&](uint32_t i) { return item_or(a.stride, dims, i); });
    spread(s.padding, dims, 0, [&](uint32_t i) { return item_or(a.padding, dims, i); });
    spread(s.dilation, dims, 1, [&](uint32_t i) { return item_or(a.dilation, dims, i); });
    int64_t extra[3];
    spread(extra, dims, 0,
           [&](uint32_t i) { return a.transposed ? item_or(a.output_padding, dims, i) : 0; });
    for (int i = 0; i < 3; i++) {
        int64_t reach = s.dilation[i] * (s.kernel[i] - 1) + 1;
        s.out[i] = a.transposed ? (s.in[i] - 1) * s.stride[i] - 2 * s.padding[i] + reach + extra[i]
                   : (s.in[i] + 2 * s.padding[i] - reach) < 0
                       ? 0
                       : (s.in[i] + 2 * s.padding[i] - reach) / s.stride[i] + 1;
    }
}

Status check(Context& ctx, const Arguments& a, const Tensor* bias, const Tensor& out) {
    const Tensor &x = a.input, &w = a.weight;
    if (x.rank < 3 || x.rank > 5 || w.rank != x.rank)
        return ctx.fail(
            "expected an input and a weight of one rank from 3 to 5 but got %d and %d; "
            "add the batch dimension",
            x.rank, w.rank);
    const uint32_t dims = static_cast<uint32_t>(x.rank) - 2;
    PENLIGHT_TRY(check_list(ctx, "stride", a.stride, dims, 1));
    PENLIGHT_TRY(check_list(ctx, "padding", a.padding, dims, 0));
    PENLIGHT_TRY(check_list(ctx, "dilation", a.dilation, dims, 1));
    if (a.transposed) PENLIGHT_TRY(check_list(ctx, "output_padding", a.output_padding, dims, 0));
    if (x.dtype != w.dtype || x.dtype != out.dtype || x.dtype == PENLIGHT_BOOL)
        return ctx.fail(
            "expected input, weight and result of one numeric dtype but got %s, %s and "
            "%s; convert them first",
            dtype_name(x.dtype), dtype_name(w.dtype), dtype_name(out.dtype));
    for (int32_t d = 0; d < x.rank; d++)
        if (x.size(d) > size_limit || w.size(d) > size_limit || (d > 0 && w.size(d) < 1))
            return ctx.fail("expected sizes from 1 to 2^30; check the weight's shape");
    if (a.groups < 1 || x.size(1) % a.groups != 0 ||
        (a.transposed ? w.size(0) != x.size(1)
                      : w.size(0) % a.groups != 0 || w.size(1) != x.size(1) / a.groups))
        return ctx.fail(
            "expected a weight for %lld input channels in %lld groups but got one of "
            "[%lld, %lld, ...]; check the shapes",
            static_cast<long long>(x.size(1)), static_cast<long long>(a.groups),
            static_cast<long long>(w.size(0)), static_cast<long long>(w.size(1)));
    const int64_t channels = a.transposed ? w.size(1) * a.groups : w.size(0);
    if (bias && (bias->rank != 1 || bias->size(0) != channels || bias->dtype != out.dtype))
        return ctx.fail("expected a bias [%lld] of dtype %s; check its shape and dtype",
                        static_cast<long long>(channels), dtype_name(out.dtype));
    return Status::ok;
}

Status describe_strides(Context& ctx, const Arguments& a, const Tensor& out, ConvolutionShape& s) {
    const Tensor& w = a.weight;
    const int32_t rank = a.input.rank, missing = 5 - rank;
    for (int d = 0; d < 5; d++) {
        bool absent = d >= 2 && d - 2 < missing;
        int32_t from = d < 2 ? d : d - missing;
        s.in_strides[d] = absent ? 0 : a.input.stride(from);
        s.out_strides[d] = absent ? 0 : out.stride(from);
    }
    s.weight_tap = w.stride(rank - 1);
    int64_t expected = s.weight_tap;
    for (int32_t d = rank - 1; d >= 2; expected *= w.size(d), d--)
        if (w.size(d) != 1 && w.stride(d) != expected)
            return ctx.fail(
                "expected a contiguous or channels-last weight; make a contiguous copy");
    expected = s.out_strides[4];
    for (int d = 4; d >= 2; expected *= s.out[d - 2], d--)
        if (s.out[d - 2] != 1 && s.out_strides[d] != expected)
            return ctx.fail(
                "expected a contiguous or channels-last result; export the model again");
    s.weight_out = a.transposed ? w.stride(1) : w.stride(0);
    s.weight_in = a.transposed ? w.stride(0) : w.stride(1);
    s.weight_group = a.transposed ? w.stride(0) * s.in_channels : w.stride(0) * s.out_channels;
    return Status::ok;
}

// Columns of the product: the inputs that each output pixel sees.
struct Gather {
    const ConvolutionShape& s;
    const Tensor& input;
    LoadFunction load;
    size_t item, compute_item;

    // The input coordinate that output coordinate o sees through tap k, or -1.
    int64_t source(int d, int64_t o, int64_t k) const {
        int64_t i;
        if (s.transposed) {
            i = o + s.padding[d] - k * s.dilation[d];
            if (i < 0 || i % s.stride[d] != 0) return -1;
            i /= s.stride[d];
        } else {
            i = o * s.stride[d] - s.padding[d] + k * s.dilation[d];
        }
        return i >= 0 && i < s.in[d] ? i : -1;
    }
    // count pixels of one output row, from ox on, through tap k; `row` is the input row or null.
    void run(const std::byte* row, int64_t ox, int64_t count, int64_t k, std::byte* to) const {
        auto zero = [&](int64_t n) {
            memset(to, 0, static_cast<size_t>(n) * compute_item);
            to += static_cast<size_t>(n) * compute_item;
        };
        if (!row) return zero(count);
        const int64_t stride = s.in_strides[4];
        auto at = [&](int64_t ix) { return row + ix * stride * static_cast<int64_t>(item); };
        if (s.transposed) {
            for (int64_t i = 0; i < count; i++) {
                int64_t ix = source(2, ox + i, k);
                if (ix < 0) {
                    zero(1);
                } else {
                    load(at(ix), 1, 1, to);
                    to += compute_item;
                }
            }
            return;
        }
        const int64_t shift = k * s.dilation[2] - s.padding[2], step = s.stride[2];
        // The first output that sees an input >= 0, and the first that sees one past the end.
        int64_t begin = shift >= 0 ? 0 : (-shift + step - 1) / step;
        int64_t end = s.in[2] - shift <= 0 ? 0 : (s.in[2] - shift + step - 1) / step;
        begin = std::clamp(begin, ox, ox + count);
        end = std::clamp(end, begin, ox + count);
        zero(begin - ox);
        if (end > begin) {
            load(at(begin * step + shift), step * stride, end - begin, to);
            to += static_cast<size_t>(end - begin) * compute_item;
        }
        zero(ox + count - end);
    }
    // All columns [first, first + count) through one tap of one input channel's plane.
    void tap(const std::byte* plane, int64_t kz, int64_t ky, int64_t kx, int64_t first,
             int64_t count, std::byte* to) const {
        int64_t ox = first % s.out[2], line = first / s.out[2];
        while (count > 0) {
            int64_t n = std::min(count, s.out[2] - ox);
            int64_t iz = source(0, line / s.out[1], kz), iy = source(1, line % s.out[1], ky);
            const std::byte* row = iz < 0 || iy < 0
                                       ? nullptr
                                       : plane + (iz * s.in_strides[2] + iy * s.in_strides[3]) *
                                                     static_cast<int64_t>(item);
            run(row, ox, n, kx, to);
            to += static_cast<size_t>(n) * compute_item;
            count -= n;
            ox = 0;
            line++;
        }
    }
    static void gather(const void* self, int64_t batch, int64_t group, int64_t first, int64_t count,
                       int64_t width, void* out) {
        const Gather& g = *static_cast<const Gather*>(self);
        auto* to = static_cast<std::byte*>(out);
        for (int64_t c = 0; c < g.s.in_channels; c++) {
            const std::byte* plane =
                static_cast<const std::byte*>(g.input.data) +
                (batch * g.s.in_strides[0] + (group * g.s.in_channels + c) * g.s.in_strides[1]) *
                    static_cast<int64_t>(g.item);
            for (int64_t kz = 0; kz < g.s.kernel[0]; kz++)
                for (int64_t ky = 0; ky < g.s.kernel[1]; ky++)
                    for (int64_t kx = 0; kx < g.s.kernel[2]; kx++) {
                        g.tap(plane, kz, ky, kx, first, count, to);
                        to += static_cast<size_t>(width) * g.compute_item;
                    }
        }
    }
};

// A kernel of one tap that visits every pixel: the columns are the input itself.
bool is_pointwise(const ConvolutionShape& s) {
    for (int d = 0; d < 3; d++)
        if (s.kernel[d] != 1 || s.stride[d] != 1 || s.in[d] != s.out[d]) return false;
    int64_t expected = s.in_strides[4];
    for (int d = 4; d >= 2; expected *= s.in[d - 2], d--)
        if (s.in[d - 2] != 1 && s.in_strides[d] != expected) return false;
    return true;
}

Gemm as_product(const ConvolutionShape& s, const Tensor& input, const Tensor& weight,
                const Tensor* bias, Tensor& out) {
    Gemm g;
    g.rows = s.out_channels;
    g.cols = s.pixels();
    g.depth = s.in_channels * s.taps();
    g.outer = s.batch;
    g.inner = s.groups;
    g.a = operand(weight, s.weight_out, s.weight_tap);
    g.a.inner_stride = s.weight_group;
    if (s.taps() == 1) {
        g.a.depth_stride = s.weight_in;
    } else if (s.in_channels > 1 && s.weight_in != s.taps() * s.weight_tap) {
        g.a.depth_run = s.taps();
        g.a.depth_run_stride = s.weight_in;
    }
    g.b = operand(input, s.in_strides[4], s.in_strides[1]);
    g.b.outer_stride = s.in_strides[0];
    g.b.inner_stride = s.in_strides[1] * s.in_channels;
    g.out = {out.data,         out.dtype,        s.out_strides[1],
             s.out_strides[4], s.out_strides[0], s.out_strides[1] * s.out_channels};
    if (bias) {
        g.add.data = bias->data;
        g.add.dtype = bias->dtype;
        g.add.row_stride = bias->stride(0);
        g.add.inner_stride = bias->stride(0) * s.out_channels;
    }
    return g;
}

Status convolution_out(Context& ctx, const Tensor& input, const Tensor& weight, const Tensor* bias,
                       IntList stride, IntList padding, IntList dilation, bool transposed,
                       IntList output_padding, int64_t groups, Tensor& out) {
    Arguments a{input, weight, stride, padding, dilation, transposed, output_padding, groups};
    PENLIGHT_TRY(check(ctx, a, bias, out));
    ConvolutionShape s{};
    describe_sizes(a, input.sizes, weight.sizes, s);
    int64_t sizes[5] = {input.size(0), s.out_channels * groups};
    for (int32_t d = 2; d < input.rank; d++) {
        sizes[d] = s.out[d + 3 - input.rank];
        if (sizes[d] < 1)
            return ctx.fail("expected a kernel no larger than the padded input; check the shapes");
    }
    PENLIGHT_TRY(resize(ctx, out, input.rank, sizes));
    PENLIGHT_TRY(describe_strides(ctx, a, out, s));
    if (is_depthwise(s, input.dtype)) return convolve_depthwise(ctx, s, input, weight, bias, out);
    Gemm g = as_product(s, input, weight, bias, out);
    const Compute c = compute_type(out.dtype);
    Gather gather{s, input, load_function(c, input.dtype), item_size(input.dtype), compute_size(c)};
    if (!is_pointwise(s)) {
        g.b.gather = Gather::gather;
        g.b.self = &gather;
    }
    return gemm(ctx, g);
}

size_t convolution_scratch(uint32_t threads, const Tensor& input, const Tensor& weight,
                           const Tensor*, IntList stride, IntList padding, IntList dilation,
                           bool transposed, IntList output_padding, int64_t groups, Tensor& out) {
    // Arguments that the kernel will refuse need no memory.
    if (input.rank < 3 || input.rank > 5 || weight.rank != input.rank || groups < 1 ||
        out.rank != input.rank)
        return 0;
    const uint32_t dims = static_cast<uint32_t>(input.rank) - 2;
    if (!in_range(stride, dims, 1) || !in_range(padding, dims, 0) || !in_range(dilation, dims, 1) ||
        (transposed && !in_range(output_padding, dims, 0)))
        return 0;
    for (int32_t d = 0; d < input.rank; d++)
        if (input.max_sizes[d] > size_limit || weight.max_sizes[d] > size_limit) return SIZE_MAX;
    Arguments a{input, weight, stride, padding, dilation, transposed, output_padding, groups};
    ConvolutionShape s{};
    describe_sizes(a, input.max_sizes, weight.max_sizes, s);
    int64_t pixels = 1, depth = s.in_channels;
    for (int32_t d = 2; d < out.rank; d++)
        if (__builtin_mul_overflow(pixels, out.max_sizes[d], &pixels) ||
            __builtin_mul_overflow(depth, weight.max_sizes[d], &depth))
            return SIZE_MAX;
    return std::max(gemm_scratch(threads, s.out_channels, pixels, depth),
                    is_depthwise(s, input.dtype) ? depthwise_scratch(threads, s) : 0);
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(convolution_out, convolution_scratch)
