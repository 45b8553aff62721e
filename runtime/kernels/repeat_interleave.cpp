#include <cinttypes>

#include "movement.h"

namespace penlight::kernels {

// out = [0] * repeats[0] + [1] * repeats[1] + ...
static Status repeat_interleave_out(Context& ctx, const Tensor& repeats,
                                    std::optional<int64_t> output_size, Tensor& out) {
    PENLIGHT_TRY(expect_rank(ctx, "repeats", repeats, 1, 1));
    PENLIGHT_TRY(expect_index_dtype(ctx, "repeats", repeats));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, repeats.dtype));
    const int64_t n = repeats.sizes[0];
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t r = load_index(repeats, i);
        if (r < 0 || __builtin_add_overflow(total, r, &total)) {
            return ctx.fail("expected repeats >= 0 of a possible sum but got %" PRId64, r);
        }
    }
    if (output_size && *output_size != total) {
        return ctx.fail("expected output_size %" PRId64 " (the sum of repeats) but got %" PRId64,
                        total, *output_size);
    }
    PENLIGHT_TRY(resize(ctx, out, 1, &total));
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        for (const int64_t end = at + load_index(repeats, i); at < end; at++) {
            if (out.dtype == PENLIGHT_INT64) {
                out.ptr<int64_t>()[at] = i;
            } else {
                out.ptr<int32_t>()[at] = static_cast<int32_t>(i);
            }
        }
    }
    return Status::ok;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(repeat_interleave_out)
