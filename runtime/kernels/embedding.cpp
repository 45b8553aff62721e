#include "movement.h"

namespace penlight::kernels {

// out[..., :] = weight[indices[...], :], weight [rows, width]. The last three numbers of the
// schema concern gradients alone.
static Status embedding_out(Context& ctx, const Tensor& weight, const Tensor& indices, int64_t,
                            bool, bool, Tensor& out) {
    PENLIGHT_TRY(expect_rank(ctx, "weight", weight, 2, 2));
    PENLIGHT_TRY(expect_contiguous(ctx, "weight", weight));
    PENLIGHT_TRY(expect_rank(ctx, "indices", indices, 0, max_rank - 1));
    PENLIGHT_TRY(expect_contiguous(ctx, "indices", indices));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, weight.dtype));
    PENLIGHT_TRY(expect_indices(ctx, "indices", indices, weight.sizes[0], false));
    int64_t sizes[max_rank];
    for (int32_t d = 0; d < indices.rank; d++) sizes[d] = indices.sizes[d];
    sizes[indices.rank] = weight.sizes[1];
    PENLIGHT_TRY(resize(ctx, out, indices.rank + 1, sizes));
    PENLIGHT_TRY(expect_contiguous(ctx, "out", out));
    const int64_t bytes = weight.sizes[1] * static_cast<int64_t>(item_size(weight.dtype));
    if (bytes == 0) return Status::ok;
    const std::byte* table = weight.ptr<std::byte>();
    std::byte* to = out.ptr<std::byte>();
    ctx.parallel_for(indices.numel(), grain_for(weight.sizes[1]), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) {
            copy_run(to + i * bytes, table + load_index(indices, i) * bytes,
                     static_cast<size_t>(bytes));
        }
    });
    return Status::ok;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(embedding_out)
