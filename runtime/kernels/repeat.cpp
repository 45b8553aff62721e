#include <cinttypes>

#include "movement.h"

namespace penlight::kernels {

// Tiles self: each dimension of size n becomes two loops, [repeats][n], and the first has stride 0.
static Status repeat_out(Context& ctx, const Tensor& self, IntList repeats, Tensor& out) {
    const int32_t rank = static_cast<int32_t>(repeats.size());
    if (rank < self.rank || rank > max_rank) {
        return ctx.fail("expected %d to %d repeats but got %u", self.rank, max_rank,
                        repeats.size());
    }
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    View v = view_of(self);
    while (v.rank < rank) v.insert(0, 1, 0);
    int64_t sizes[max_rank];
    for (int32_t d = 0; d < rank; d++) {
        const int64_t n = repeats[static_cast<uint32_t>(d)];
        if (n < 0 || __builtin_mul_overflow(n, v.sizes[d], &sizes[d])) {
            return ctx.fail("expected repeats[%d] >= 0 of a possible size but got %" PRId64, d, n);
        }
    }
    PENLIGHT_TRY(resize(ctx, out, rank, sizes));
    if (out.numel() == 0) return Status::ok;
    // Copy once, then let the dimensions grow one by one, innermost first: each step repeats what
    // stands in out already.
    View done = view_of(out);
    for (int32_t d = 0; d < rank; d++) done.sizes[d] = v.sizes[d];
    write_region(ctx, v, done);
    for (int32_t d = rank - 1; d >= 0; d--) {
        const int64_t copies = repeats[static_cast<uint32_t>(d)] - 1;
        if (copies > 0) {
            View from = done, to = done;
            to.move(v.sizes[d] * done.strides[d]);
            from.sizes[d] = v.sizes[d];
            int64_t shape[max_rank + 1], to_strides[max_rank + 1], from_strides[max_rank + 1];
            for (int32_t k = 0; k < rank; k++) {
                shape[k] = from.sizes[k];
                to_strides[k] = from_strides[k] = done.strides[k];
            }
            shape[rank] = copies;
            to_strides[rank] = v.sizes[d] * done.strides[d];
            from_strides[rank] = 0;
            copy_strided(ctx, v.item, rank + 1, shape, const_cast<std::byte*>(to.data), to_strides,
                         from.data, from_strides);
        }
        done.sizes[d] = sizes[d];
    }
    return Status::ok;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(repeat_out)
