#include "movement.h"

namespace penlight::kernels {

// out[.., i, ..] = self[.., index[i], ..] along dim d.
static Status index_select_out(Context& ctx, const Tensor& self, int64_t dim, const Tensor& index,
                               Tensor& out) {
    int32_t d;
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank, &d));
    PENLIGHT_TRY(expect_rank(ctx, "index", index, 0, 1));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    View from = view_of(self);
    if (self.rank == 0) {
        if (index.numel() != 1) return ctx.fail("expected 1 index into a 0-d self but got others");
        from.insert(0, 1, 1);
    }
    PENLIGHT_TRY(expect_indices(ctx, "index", index, from.sizes[d], false));
    const int64_t count = index.numel();
    int64_t sizes[max_rank];
    for (int32_t k = 0; k < from.rank; k++) sizes[k] = k == d ? count : from.sizes[k];
    PENLIGHT_TRY(resize(ctx, out, self.rank, sizes));
    if (out.numel() == 0) return Status::ok;
    View to = view_of(out);
    if (self.rank == 0) to.insert(0, 1, 1);

    // A run is what lies together at one index in both; the other dimensions are stepped through.
    int64_t run = 1;
    int32_t outer = from.rank;
    while (outer - 1 > d && (from.sizes[outer - 1] == 1 ||
                             (from.strides[outer - 1] == run && to.strides[outer - 1] == run))) {
        run *= from.sizes[--outer];
    }
    const size_t bytes = static_cast<size_t>(run) * from.item;
    const int64_t step = static_cast<int64_t>(from.item), along = from.strides[d];
    from.strides[d] = 0;
    ctx.parallel_for(out.numel() / run, grain_for(run), [&](int64_t begin, int64_t end) {
        Odometer<2> at{outer, sizes, {to.strides, from.strides}, {}, {}};
        at.seek(begin);
        for (int64_t i = begin; i < end; i++, at.next()) {
            const int64_t source = at.offset[1] + load_index(index, at.index[d]) * along;
            copy_run(out.ptr<std::byte>() + at.offset[0] * step, from.data + source * step, bytes);
        }
    });
    return Status::ok;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(index_select_out)
