#include "pooling.h"

#include <cinttypes>

namespace penlight::kernels {

static Status read_list(Context& ctx, const char* name, const IntList& list, int32_t dims,
                        int64_t least, const int64_t* otherwise, int64_t* values) {
    if (list.size() == 0 && otherwise != nullptr) {
        for (int i = 0; i < 3; i++) values[i] = otherwise[i];
        return Status::ok;
    }
    if (list.size() != 1 && list.size() != static_cast<uint32_t>(dims)) {
        return ctx.fail("expected %s of 1 or %d numbers but got %u", name, dims, list.size());
    }
    for (int32_t i = 0; i < dims; i++) {
        const int64_t v = list[list.size() == 1 ? 0 : static_cast<uint32_t>(i)];
        constexpr int64_t most = 1 << 20;  // so that no product of them overflows
        if (v < least || v > most) {
            return ctx.fail("expected %s in [%" PRId64 ", %" PRId64 "] but got %" PRId64, name,
                            least, most, v);
        }
        values[3 - dims + i] = v;
    }
    return Status::ok;
}

Status read_window(Context& ctx, int32_t dims, const IntList& kernel, const IntList& stride,
                   const IntList& padding, const IntList* dilation, bool ceil_mode, Window* w) {
    *w = {{1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, ceil_mode};
    PENLIGHT_TRY(read_list(ctx, "kernel_size", kernel, dims, 1, nullptr, w->kernel));
    PENLIGHT_TRY(read_list(ctx, "stride", stride, dims, 1, w->kernel, w->stride));
    PENLIGHT_TRY(read_list(ctx, "padding", padding, dims, 0, nullptr, w->padding));
    if (dilation != nullptr) {
        PENLIGHT_TRY(read_list(ctx, "dilation", *dilation, dims, 1, nullptr, w->dilation));
    }
    for (int i = 0; i < 3; i++) {
        const int64_t reach = (w->kernel[i] - 1) * w->dilation[i] + 1;
        if (w->padding[i] > reach / 2) {
            return ctx.fail("expected padding of at most half the kernel's %" PRId64
                            " but got %" PRId64,
                            reach, w->padding[i]);
        }
    }
    return Status::ok;
}

Planes planes_of(const Tensor& t, int32_t dims) {
    Planes p{1, 1, {1, 1, 1}, 0, 0, {0, 0, 0}};
    for (int32_t i = 0; i < dims; i++) {
        p.size[3 - dims + i] = t.sizes[t.rank - dims + i];
        p.stride[3 - dims + i] = t.strides[t.rank - dims + i];
    }
    const int32_t c = t.rank - dims - 1;
    if (c >= 0) p.channels = t.sizes[c], p.channel_stride = t.strides[c];
    if (c >= 1) p.batch = t.sizes[c - 1], p.batch_stride = t.strides[c - 1];
    return p;
}

Status resize_spatial(Context& ctx, const Tensor& self, int32_t dims, const int64_t* sizes,
                      Tensor& out) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, dims + 1, dims + 2));
    int64_t shape[max_rank];
    for (int32_t d = 0; d < self.rank; d++) {
        const int32_t spatial = d - (self.rank - dims);
        shape[d] = spatial < 0 ? self.sizes[d] : sizes[spatial];
        // A batch may be empty, nothing else.
        if (shape[d] < 0 || (self.sizes[d] <= 0 && !(d == 0 && self.rank == dims + 2))) {
            return ctx.fail("expected dim %d of a size to pool but got %" PRId64 " from %" PRId64,
                            d, shape[d], self.sizes[d]);
        }
    }
    return resize(ctx, out, self.rank, shape);
}

Status resize_pooled(Context& ctx, const Tensor& self, int32_t dims, const Window& w, Tensor& out,
                     Tensor* second) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, dims + 1, dims + 2));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    int64_t sizes[3];
    for (int32_t i = 0; i < dims; i++) {
        const int32_t k = 3 - dims + i;
        const int64_t in = self.sizes[self.rank - dims + i];
        const int64_t room = in + 2 * w.padding[k] - w.dilation[k] * (w.kernel[k] - 1) - 1;
        if (room < 0 && (!w.ceil_mode || room + w.stride[k] - 1 < 0)) {
            return ctx.fail("expected a kernel within the padded size %" PRId64 " but got %" PRId64,
                            in + 2 * w.padding[k], w.kernel[k]);
        }
        sizes[i] = (room + (w.ceil_mode ? w.stride[k] - 1 : 0)) / w.stride[k] + 1;
        // The last window starts inside the input or its left padding.
        if (w.ceil_mode && (sizes[i] - 1) * w.stride[k] >= in + w.padding[k]) sizes[i]--;
        if (sizes[i] < 1) return ctx.fail("expected a pooled size >= 1 but got %" PRId64, sizes[i]);
    }
    PENLIGHT_TRY(resize_spatial(ctx, self, dims, sizes, out));
    if (second != nullptr) PENLIGHT_TRY(resize_spatial(ctx, self, dims, sizes, *second));
    return Status::ok;
}

}  // namespace penlight::kernels
