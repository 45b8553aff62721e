#include <cinttypes>

#include "movement.h"

namespace penlight::kernels {

// A dimension of size 1 is repeated; -1 keeps a size; new dimensions come first.
static Status expand_copy_out(Context& ctx, const Tensor& self, IntList size, bool, Tensor& out) {
    const int32_t rank = static_cast<int32_t>(size.size());
    if (rank < self.rank || rank > max_rank) {
        return ctx.fail("expected %d to %d sizes but got %u", self.rank, max_rank, size.size());
    }
    View v = view_of(self);
    while (v.rank < rank) v.insert(0, 1, 0);
    for (int32_t d = 0; d < rank; d++) {
        const int64_t wanted = size[static_cast<uint32_t>(d)];
        if (wanted == v.sizes[d] || (wanted == -1 && d >= rank - self.rank)) continue;
        if (v.sizes[d] != 1 || wanted < 0) {
            return ctx.fail("expected size %" PRId64 " of dim %d to stay or be 1 but got %" PRId64,
                            v.sizes[d], d, wanted);
        }
        v.sizes[d] = wanted;
        v.strides[d] = 0;
    }
    return copy_view(ctx, v, out);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(expand_copy_out)
