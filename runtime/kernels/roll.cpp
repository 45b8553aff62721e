#include "movement.h"

namespace penlight::kernels {

// Elements that leave one end of a dimension come in at the other: along each rolled dimension the
// copy is two blocks, so along k of them it is 2^k.
static void roll_blocks(Context& ctx, const View& from, const View& to, const int64_t* shifts) {
    int32_t rolled[max_rank], count = 0;
    for (int32_t d = 0; d < from.rank; d++) {
        if (shifts[d] != 0) rolled[count++] = d;
    }
    for (uint32_t block = 0; block < uint32_t{1} << count; block++) {
        View source = from, target = to;
        for (int32_t i = 0; i < count; i++) {
            const int32_t d = rolled[i];
            const int64_t head = from.sizes[d] - shifts[d];  // these move up by the shift
            if (block >> i & 1) {
                source.move(head * from.strides[d]);
                source.sizes[d] = shifts[d];
            } else {
                target.move(shifts[d] * to.strides[d]);
                source.sizes[d] = head;
            }
        }
        write_region(ctx, source, target);
    }
}

static int64_t wrap_shift(int64_t shift, int64_t size) {
    const int64_t rest = size == 0 ? 0 : shift % size;
    return rest < 0 ? rest + size : rest;
}

static Status roll_out(Context& ctx, const Tensor& self, IntList shifts, IntList dims,
                       Tensor& out) {
    int64_t by[max_rank] = {};
    View from = view_of(self);
    if (dims.size() == 0) {
        // Without dims the tensor is rolled as if it were flat.
        if (shifts.size() != 1) return ctx.fail("expected 1 shift but got %u", shifts.size());
        PENLIGHT_TRY(expect_contiguous(ctx, "self", self));
        PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
        PENLIGHT_TRY(resize_like(ctx, out, self));
        PENLIGHT_TRY(expect_contiguous(ctx, "out", out));
        from.rank = 1, from.sizes[0] = self.numel(), from.strides[0] = 1;
        View to = view_of(out);
        to.rank = 1, to.sizes[0] = from.sizes[0], to.strides[0] = 1;
        by[0] = wrap_shift(shifts[0], from.sizes[0]);
        roll_blocks(ctx, from, to, by);
        return Status::ok;
    }
    if (shifts.size() != dims.size()) {
        return ctx.fail("expected %u shifts, one for each dim, but got %u", dims.size(),
                        shifts.size());
    }
    for (uint32_t i = 0; i < dims.size(); i++) {
        int32_t d;
        PENLIGHT_TRY(expect_rank(ctx, "self", self, 1, max_rank));
        PENLIGHT_TRY(wrap_dim(ctx, dims[i], self.rank, &d));
        by[d] = wrap_shift(by[d] + wrap_shift(shifts[i], self.sizes[d]), self.sizes[d]);
    }
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    PENLIGHT_TRY(resize_like(ctx, out, self));
    roll_blocks(ctx, from, view_of(out), by);
    return Status::ok;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(roll_out)
