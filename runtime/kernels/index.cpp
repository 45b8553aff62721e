#include "advanced_index.h"

namespace penlight::kernels {

static Status index_out(Context& ctx, const Tensor& self, OptionalTensorList indices, Tensor& out) {
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    AdvancedIndex index;
    PENLIGHT_TRY(index.prepare(ctx, self, indices));
    PENLIGHT_TRY(resize(ctx, out, index.out_rank, index.out_sizes));
    if (out.numel() == 0) return Status::ok;
    int64_t over_index[max_rank], over_rest[max_rank];
    index.split(out.strides, over_index, over_rest);
    const RestLoop rest(index, over_rest);
    const size_t item = item_size(self.dtype), bytes = item * static_cast<size_t>(rest.run);
    const std::byte* from = self.ptr<std::byte>();
    std::byte* to = out.ptr<std::byte>();
    const int64_t step = static_cast<int64_t>(item);
    ctx.parallel_for(index.count(), grain_for(index.rest_count()), [&](int64_t begin, int64_t end) {
        Odometer<1> at{index.rank, index.sizes, {over_index}, {}, {}};
        at.seek(begin);
        for (int64_t b = begin; b < end; b++, at.next()) {
            const int64_t source = index.offset(b);
            Odometer<2> inner{rest.rank, rest.sizes, {rest.self, rest.other}, {}, {}};
            inner.seek(0);
            for (int64_t r = 0; r < rest.count; r++, inner.next()) {
                copy_run(to + (at.offset[0] + inner.offset[1]) * step,
                         from + (source + inner.offset[0]) * step, bytes);
            }
        }
    });
    return Status::ok;
}

static size_t index_scratch(uint32_t, const Tensor&, OptionalTensorList indices, Tensor&) {
    return advanced_index_scratch(indices);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(index_out, index_scratch)
