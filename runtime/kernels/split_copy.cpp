#include <cinttypes>

#include "movement.h"

namespace penlight::kernels {

static Status expect_outputs(Context& ctx, const OutTensorList& out, int64_t count) {
    if (out.size() == count) return Status::ok;
    return ctx.fail("expected %" PRId64 " output tensors but got %u", count, out.size());
}

// out[i] = self[..., start:start + length, ...] along dim d.
static Status copy_piece(Context& ctx, const Tensor& self, int32_t d, int64_t start, int64_t length,
                         Tensor& out) {
    View v = view_of(self);
    v.move(start * v.strides[d]);
    v.sizes[d] = length;
    return copy_view(ctx, v, out);
}

static Status split_copy_out(Context& ctx, const Tensor& self, int64_t split_size, int64_t dim,
                             OutTensorList out) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 1, max_rank));
    int32_t d;
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank, &d));
    const int64_t size = self.sizes[d];
    if (split_size < 0 || (split_size == 0 && size != 0)) {
        return ctx.fail("expected split_size > 0 but got %" PRId64, split_size);
    }
    PENLIGHT_TRY(expect_outputs(ctx, out, size == 0 ? 1 : (size - 1) / split_size + 1));
    for (uint32_t i = 0; i < out.size(); i++) {
        const int64_t start = i * split_size;
        const int64_t rest = size - start;
        PENLIGHT_TRY(
            copy_piece(ctx, self, d, start, rest < split_size ? rest : split_size, out[i]));
    }
    return Status::ok;
}

static Status split_with_sizes_copy_out(Context& ctx, const Tensor& self, IntList split_sizes,
                                        int64_t dim, OutTensorList out) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 1, max_rank));
    int32_t d;
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank, &d));
    PENLIGHT_TRY(expect_outputs(ctx, out, split_sizes.size()));
    int64_t total = 0;
    for (uint32_t i = 0; i < split_sizes.size(); i++) {
        if (split_sizes[i] < 0 || split_sizes[i] > self.sizes[d] - total) {
            return ctx.fail("expected split_sizes that sum to %" PRId64 " but got %" PRId64
                            " after %" PRId64,
                            self.sizes[d], split_sizes[i], total);
        }
        total += split_sizes[i];
    }
    if (total != self.sizes[d]) {
        return ctx.fail("expected split_sizes that sum to %" PRId64 " but got %" PRId64,
                        self.sizes[d], total);
    }
    int64_t start = 0;
    for (uint32_t i = 0; i < out.size(); i++) {
        PENLIGHT_TRY(copy_piece(ctx, self, d, start, split_sizes[i], out[i]));
        start += split_sizes[i];
    }
    return Status::ok;
}

static Status unbind_copy_out(Context& ctx, const Tensor& self, int64_t dim, OutTensorList out) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 1, max_rank));
    int32_t d;
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank, &d));
    PENLIGHT_TRY(expect_outputs(ctx, out, self.sizes[d]));
    for (uint32_t i = 0; i < out.size(); i++) {
        View v = view_of(self);
        v.move(i * v.strides[d]);
        v.erase(d);
        PENLIGHT_TRY(copy_view(ctx, v, out[i]));
    }
    return Status::ok;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(split_copy_out)
PENLIGHT_DEFINE_KERNEL(split_with_sizes_copy_out)
PENLIGHT_DEFINE_KERNEL(unbind_copy_out)
