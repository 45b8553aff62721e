#include <cinttypes>

#include "movement.h"

namespace penlight::kernels {

// Reads self's memory, taken as a flat run of its elements, with sizes and strides of its own.
static Status as_strided_copy_out(Context& ctx, const Tensor& self, IntList size, IntList stride,
                                  std::optional<int64_t> storage_offset, Tensor& out) {
    const int32_t rank = static_cast<int32_t>(size.size());
    if (stride.size() != size.size() || rank > max_rank) {
        return ctx.fail("expected as many strides as sizes, at most %d, but got %u and %u",
                        max_rank, stride.size(), size.size());
    }
    View v = view_of(self);
    v.rank = rank;
    int64_t last = storage_offset.value_or(0);
    bool valid = last >= 0, empty = false;
    for (int32_t d = 0; d < rank; d++) {
        const int64_t n = size[static_cast<uint32_t>(d)], s = stride[static_cast<uint32_t>(d)];
        v.sizes[d] = n;
        v.strides[d] = s;
        empty = empty || n == 0;
        int64_t reach = 0;
        valid = valid && n >= 0 && s >= 0 &&
                !__builtin_mul_overflow(n > 0 ? n - 1 : 0, s, &reach) &&
                !__builtin_add_overflow(last, reach, &last);
    }
    if (!valid || (!empty && last >= self.numel())) {
        return ctx.fail("expected sizes %s with strides that stay within %" PRId64
                        " elements but got ones that do not",
                        ShapeText(rank, v.sizes).text, self.numel());
    }
    if (!empty) v.move(storage_offset.value_or(0));
    return copy_view(ctx, v, out);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(as_strided_copy_out)
