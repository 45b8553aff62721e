// im2col (unfold) and col2im (fold): an image [N, C, H, W] or [C, H, W] as the columns of its
// windows, [N, C kh kw, L], and back, where overlapping windows are summed.
#include <cinttypes>
#include <cstring>

#include "gather.h"

namespace penlight::kernels {

struct Columns {
    int64_t kernel[2], dilation[2], padding[2], stride[2];
    int64_t size[2];    // of the image
    int64_t blocks[2];  // windows in each direction
};

static Status read_pair(Context& ctx, const char* name, const IntList& list, int64_t least,
                        int64_t* values) {
    if (list.size() != 2) return ctx.fail("expected 2 numbers of %s but got %u", name, list.size());
    for (uint32_t i = 0; i < 2; i++) {
        values[i] = list[i];
        if (values[i] < least || values[i] > INT32_MAX) {
            return ctx.fail("expected %s of at least %" PRId64 " but got %" PRId64, name, least,
                            values[i]);
        }
    }
    return Status::ok;
}

// Everything but c->size, which is given, from the file's lists.
static Status read_columns(Context& ctx, const IntList& kernel, const IntList& dilation,
                           const IntList& padding, const IntList& stride, Columns* c) {
    PENLIGHT_TRY(read_pair(ctx, "kernel_size", kernel, 1, c->kernel));
    PENLIGHT_TRY(read_pair(ctx, "dilation", dilation, 1, c->dilation));
    PENLIGHT_TRY(read_pair(ctx, "padding", padding, 0, c->padding));
    PENLIGHT_TRY(read_pair(ctx, "stride", stride, 1, c->stride));
    for (int i = 0; i < 2; i++) {
        const int64_t room =
            c->size[i] + 2 * c->padding[i] - c->dilation[i] * (c->kernel[i] - 1) - 1;
        if (room < 0) {
            return ctx.fail("expected a kernel within the padded size %" PRId64 " but got %" PRId64,
                            c->size[i] + 2 * c->padding[i], c->kernel[i]);
        }
        c->blocks[i] = room / c->stride[i] + 1;
    }
    return Status::ok;
}

// body(column's row: channel kernel cell, column, place in the image's plane or -1) for a channel.
template <class F> static void for_column_cells(const Columns& c, const F& body) {
    for (int64_t ky = 0; ky < c.kernel[0]; ky++) {
        for (int64_t kx = 0; kx < c.kernel[1]; kx++) {
            const int64_t row = ky * c.kernel[1] + kx;
            for (int64_t by = 0; by < c.blocks[0]; by++) {
                const int64_t y = by * c.stride[0] - c.padding[0] + ky * c.dilation[0];
                for (int64_t bx = 0; bx < c.blocks[1]; bx++) {
                    const int64_t x = bx * c.stride[1] - c.padding[1] + kx * c.dilation[1];
                    const bool inside = y >= 0 && y < c.size[0] && x >= 0 && x < c.size[1];
                    body(row * c.blocks[0] * c.blocks[1] + by * c.blocks[1] + bx,
                         inside ? y * c.size[1] + x : -1);
                }
            }
        }
    }
}

static Status im2col_out(Context& ctx, const Tensor& self, IntList kernel_size, IntList dilation,
                         IntList padding, IntList stride, Tensor& out) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 3, 4));
    PENLIGHT_TRY(expect_contiguous(ctx, "self", self));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    Columns c;
    c.size[0] = self.sizes[self.rank - 2], c.size[1] = self.sizes[self.rank - 1];
    PENLIGHT_TRY(read_columns(ctx, kernel_size, dilation, padding, stride, &c));
    const int64_t channels = self.sizes[self.rank - 3];
    int64_t sizes[3] = {self.sizes[0], 0, 0}, cells, height, width, per_channel;
    int64_t* last = sizes + self.rank - 3;
    if (__builtin_mul_overflow(c.kernel[0], c.kernel[1], &cells) ||
        __builtin_mul_overflow(channels, cells, &height) ||
        __builtin_mul_overflow(c.blocks[0], c.blocks[1], &width) ||
        __builtin_mul_overflow(cells, width, &per_channel)) {
        return ctx.fail("expected columns of a possible size but got a kernel of %" PRId64
                        " x %" PRId64,
                        c.kernel[0], c.kernel[1]);
    }
    last[0] = height, last[1] = width;
    PENLIGHT_TRY(resize(ctx, out, self.rank - 1, sizes));
    PENLIGHT_TRY(expect_contiguous(ctx, "out", out));
    const int64_t plane = c.size[0] * c.size[1];
    const int64_t planes = channels * (self.rank == 4 ? self.sizes[0] : 1);
    with_word(item_size(self.dtype), [&](auto tag) {
        using Word = typename decltype(tag)::type;
        ctx.parallel_for(planes, grain_for(per_channel), [&](int64_t first, int64_t last_plane) {
            for (int64_t p = first; p < last_plane; p++) {
                const Word* from = self.ptr<Word>() + p * plane;
                Word* to = out.ptr<Word>() + p * per_channel;
                for_column_cells(c, [=](int64_t column, int64_t place) {
                    to[column] = place < 0 ? 0 : from[place];
                });
            }
        });
    });
    return Status::ok;
}

static Status col2im_out(Context& ctx, const Tensor& self, IntList output_size, IntList kernel_size,
                         IntList dilation, IntList padding, IntList stride, Tensor& out) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 2, 3));
    PENLIGHT_TRY(expect_contiguous(ctx, "self", self));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    Columns c;
    PENLIGHT_TRY(read_pair(ctx, "output_size", output_size, 1, c.size));
    PENLIGHT_TRY(read_columns(ctx, kernel_size, dilation, padding, stride, &c));
    const int64_t height = self.sizes[self.rank - 2], width = self.sizes[self.rank - 1];
    int64_t cells, blocks, per_channel;
    if (__builtin_mul_overflow(c.kernel[0], c.kernel[1], &cells) || height % cells != 0 ||
        __builtin_mul_overflow(c.blocks[0], c.blocks[1], &blocks) || width != blocks ||
        __builtin_mul_overflow(cells, width, &per_channel)) {
        return ctx.fail("expected self [N, C * %" PRId64 " * %" PRId64 ", %" PRId64 " * %" PRId64
                        "] but got %s",
                        c.kernel[0], c.kernel[1], c.blocks[0], c.blocks[1], ShapeText(self).text);
    }
    const int64_t channels = height / cells;
    const int64_t batched[] = {self.sizes[0], channels, c.size[0], c.size[1]};
    PENLIGHT_TRY(resize(ctx, out, self.rank + 1, batched + (self.rank == 3 ? 0 : 1)));
    PENLIGHT_TRY(expect_contiguous(ctx, "out", out));
    const int64_t plane = c.size[0] * c.size[1];
    const int64_t planes = channels * (self.rank == 3 ? self.sizes[0] : 1);
    visit_dtype(self.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        ctx.parallel_for(planes, grain_for(per_channel), [&](int64_t first, int64_t last) {
            for (int64_t p = first; p < last; p++) {
                const T* from = self.ptr<T>() + p * per_channel;
                T* to = out.ptr<T>() + p * plane;
                std::memset(to, 0, static_cast<size_t>(plane) * sizeof(T));
                for_column_cells(c, [=](int64_t column, int64_t place) {
                    if (place >= 0) to[place] = sum_of(to[place], from[column]);
                });
            }
        });
    });
    return Status::ok;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(im2col_out)
PENLIGHT_DEFINE_KERNEL(col2im_out)
