#include <cinttypes>

#include "movement.h"

namespace penlight::kernels {

// The shape asked for, with a single -1 worked out from the number of elements.
static Status resolve_shape(Context& ctx, const Tensor& self, const IntList& size,
                            int64_t* resolved) {
    if (size.size() > max_rank) {
        return ctx.fail("expected at most %d dims but got %u", max_rank, size.size());
    }
    int64_t known = 1;
    int32_t unknown = -1;
    for (uint32_t d = 0; d < size.size(); d++) {
        resolved[d] = size[d];
        if (size[d] == -1) {
            if (unknown >= 0) return ctx.fail("expected a single size of -1 but got several");
            unknown = static_cast<int32_t>(d);
        } else if (size[d] < 0 || __builtin_mul_overflow(known, size[d], &known)) {
            return ctx.fail("expected sizes >= 0 of a possible product but got %" PRId64, size[d]);
        }
    }
    const int64_t count = self.numel();
    if (unknown >= 0 && known > 0) resolved[unknown] = count / known, known *= count / known;
    if (known != count || (unknown >= 0 && known == 0 && resolved[unknown] == -1)) {
        return ctx.fail("expected a shape of %" PRId64 " elements but got %s", count,
                        ShapeText(static_cast<int32_t>(size.size()), resolved).text);
    }
    return Status::ok;
}

static Status view_copy_out(Context& ctx, const Tensor& self, IntList size, Tensor& out) {
    int64_t sizes[max_rank];
    PENLIGHT_TRY(resolve_shape(ctx, self, size, sizes));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    PENLIGHT_TRY(resize(ctx, out, static_cast<int32_t>(size.size()), sizes));
    if (out.data != self.data) copy_in_order(ctx, view_of(self), out);
    return Status::ok;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(view_copy_out)
