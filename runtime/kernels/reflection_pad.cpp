// reflection_pad and replication_pad in 1, 2 and 3 dimensions.
#include <algorithm>
#include <cinttypes>

#include "movement.h"

namespace penlight::kernels {

enum class Border { reflect, replicate };

// A run of output positions along one dimension, and the source positions it reads.
struct Run {
    int64_t to, length, from, step;
};

// Cuts a padded dimension of size n into its left border, its middle and its right border.
static void cut(Border border, int64_t n, int64_t left, int64_t width, Run* runs) {
    const int64_t middle = std::clamp<int64_t>(left, 0, width);
    const int64_t right = std::clamp<int64_t>(n + left, 0, width);
    const bool reflect = border == Border::reflect;
    runs[0] = {0, middle, reflect ? left : 0, reflect ? -1 : 0};
    runs[1] = {middle, right - middle, middle - left, 1};
    runs[2] = {right, width - right, reflect ? 2 * (n - 1) - (right - left) : n - 1,
               reflect ? -1 : 0};
}

static Status pad_shape(Context& ctx, Border border, const Tensor& self, const IntList& padding,
                        int32_t dims, int64_t* sizes) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, dims + 1, dims + 2));
    if (padding.size() != static_cast<uint32_t>(2 * dims)) {
        return ctx.fail("expected %d padding amounts but got %u", 2 * dims, padding.size());
    }
    for (int32_t d = 0; d < self.rank; d++) {
        sizes[d] = self.sizes[d];
        if (d == 0 && self.rank == dims + 2) continue;  // an empty batch is allowed
        if (sizes[d] == 0) return ctx.fail("expected dim %d not to be empty but got 0", d);
    }
    for (int32_t i = 0; i < dims; i++) {
        const int32_t d = self.rank - 1 - i;
        const int64_t n = self.sizes[d];
        const int64_t left = padding[static_cast<uint32_t>(2 * i)];
        const int64_t right = padding[static_cast<uint32_t>(2 * i + 1)];
        if (border == Border::reflect && (left >= n || right >= n)) {
            return ctx.fail("expected padding less than size %" PRId64 " of dim %d but got %" PRId64
                            " and %" PRId64,
                            n, d, left, right);
        }
        if (__builtin_add_overflow(sizes[d], left, &sizes[d]) ||
            __builtin_add_overflow(sizes[d], right, &sizes[d]) || sizes[d] < 1 ||
            left < -(int64_t{1} << 48)) {
            return ctx.fail("expected padding that leaves a size of dim %d but got %" PRId64
                            " and %" PRId64,
                            d, left, right);
        }
    }
    return Status::ok;
}

static Status pad(Context& ctx, Border border, const Tensor& self, const IntList& padding,
                  int32_t dims, Tensor& out) {
    int64_t sizes[max_rank];
    PENLIGHT_TRY(pad_shape(ctx, border, self, padding, dims, sizes));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    PENLIGHT_TRY(resize(ctx, out, self.rank, sizes));
    Run runs[3][3];
    int blocks = 1;
    for (int32_t i = 0; i < dims; i++, blocks *= 3) {
        const int32_t d = self.rank - 1 - i;
        cut(border, self.sizes[d], padding[static_cast<uint32_t>(2 * i)], sizes[d], runs[i]);
    }
    // Each of the 3^dims blocks is a strided copy.
    for (int block = 0; block < blocks; block++) {
        View from = view_of(self), to = view_of(out);
        bool empty = false;
        for (int32_t i = 0, code = block; i < dims; i++, code /= 3) {
            const Run& run = runs[i][code % 3];
            const int32_t d = self.rank - 1 - i;
            empty = empty || run.length <= 0;
            if (empty) break;
            from.move(run.from * from.strides[d]);
            from.sizes[d] = run.length;
            from.strides[d] *= run.step;
            to.move(run.to * to.strides[d]);
        }
        if (!empty) write_region(ctx, from, to);
    }
    return Status::ok;
}

#define PENLIGHT_PAD(NAME, BORDER, DIMS)                                                       \
    static Status NAME##_out(Context& ctx, const Tensor& self, IntList padding, Tensor& out) { \
        return pad(ctx, Border::BORDER, self, padding, DIMS, out);                             \
    }
PENLIGHT_PAD(reflection_pad1d, reflect, 1)
PENLIGHT_PAD(reflection_pad2d, reflect, 2)
PENLIGHT_PAD(reflection_pad3d, reflect, 3)
PENLIGHT_PAD(replication_pad1d, replicate, 1)
PENLIGHT_PAD(replication_pad2d, replicate, 2)
PENLIGHT_PAD(replication_pad3d, replicate, 3)
#undef PENLIGHT_PAD

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(reflection_pad1d_out)
PENLIGHT_DEFINE_KERNEL(reflection_pad2d_out)
PENLIGHT_DEFINE_KERNEL(reflection_pad3d_out)
PENLIGHT_DEFINE_KERNEL(replication_pad1d_out)
PENLIGHT_DEFINE_KERNEL(replication_pad2d_out)
PENLIGHT_DEFINE_KERNEL(replication_pad3d_out)
