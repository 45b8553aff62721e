#include <cinttypes>

#include "movement.h"

namespace penlight::kernels {

// Splits dim d of the view in two, [size / inner][inner].
static void split_dim(View* v, int32_t d, int64_t inner) {
    const int64_t stride = v->strides[d];
    v->sizes[d] /= inner;
    v->strides[d] = stride * inner;
    v->insert(d + 1, inner, stride);
}

static Status expect_factor(Context& ctx, const Tensor& self, int64_t factor) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 3, max_rank - 2));
    if (factor <= 0 || factor > INT32_MAX) {
        return ctx.fail("expected a factor > 0 but got %" PRId64, factor);
    }
    return Status::ok;
}

// [..., C r r, H, W] -> [..., C, H r, W r]
static Status pixel_shuffle_out(Context& ctx, const Tensor& self, int64_t upscale_factor,
                                Tensor& out) {
    PENLIGHT_TRY(expect_factor(ctx, self, upscale_factor));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    const int64_t r = upscale_factor;
    const int32_t c = self.rank - 3;
    int64_t sizes[max_rank];
    for (int32_t d = 0; d < self.rank; d++) sizes[d] = self.sizes[d];
    sizes[c] /= r * r;
    if (sizes[c] * r * r != self.sizes[c] ||
        __builtin_mul_overflow(sizes[c + 1], r, &sizes[c + 1]) ||
        __builtin_mul_overflow(sizes[c + 2], r, &sizes[c + 2])) {
        return ctx.fail("expected channels divisible by %" PRId64 " squared but got %" PRId64, r,
                        self.sizes[c]);
    }
    PENLIGHT_TRY(resize(ctx, out, self.rank, sizes));
    View from = view_of(self);  // [..., C, r, r, H, W]
    split_dim(&from, c, r * r);
    split_dim(&from, c + 1, r);
    View to = view_of(out);  // [..., C, r, r, H, W], from [..., C, H, r, W, r]
    const int64_t row = to.strides[c + 1], column = to.strides[c + 2];
    to.rank = from.rank;
    const int64_t strides[] = {row, column, row * r, column * r};
    for (int32_t i = 0; i < 4; i++) to.strides[c + 1 + i] = strides[i];
    write_region(ctx, from, to);
    return Status::ok;
}

// [..., C, H r, W r] -> [..., C r r, H, W]
static Status pixel_unshuffle_out(Context& ctx, const Tensor& self, int64_t downscale_factor,
                                  Tensor& out) {
    PENLIGHT_TRY(expect_factor(ctx, self, downscale_factor));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    const int64_t r = downscale_factor;
    const int32_t c = self.rank - 3;
    int64_t sizes[max_rank];
    for (int32_t d = 0; d < self.rank; d++) sizes[d] = self.sizes[d];
    sizes[c + 1] /= r;
    sizes[c + 2] /= r;
    if (sizes[c + 1] * r != self.sizes[c + 1] || sizes[c + 2] * r != self.sizes[c + 2] ||
        __builtin_mul_overflow(sizes[c], r * r, &sizes[c])) {
        return ctx.fail("expected height and width divisible by %" PRId64 " but got %s", r,
                        ShapeText(self).text);
    }
    PENLIGHT_TRY(resize(ctx, out, self.rank, sizes));
    View to = view_of(out);  // [..., C, r, r, H, W]
    split_dim(&to, c, r * r);
    split_dim(&to, c + 1, r);
    View from = to;
    from.data = self.ptr<std::byte>();
    const int64_t row = self.strides[c + 1], column = self.strides[c + 2];
    for (int32_t d = 0; d <= c; d++) from.strides[d] = self.strides[d];
    const int64_t strides[] = {row, column, row * r, column * r};
    for (int32_t i = 0; i < 4; i++) from.strides[c + 1 + i] = strides[i];
    write_region(ctx, from, to);
    return Status::ok;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(pixel_shuffle_out)
PENLIGHT_DEFINE_KERNEL(pixel_unshuffle_out)
