#include "gather.h"

namespace penlight::kernels {

Status GatherLoop::prepare(Context& ctx, const Tensor& self, int64_t dim, const Tensor& index) {
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank, &this->dim));
    PENLIGHT_TRY(expect_index_dtype(ctx, "index", index));
    whole = view_of(self);
    positions = view_of(index);
    if (whole.rank == 0) whole.insert(0, 1, 1);
    if (positions.rank == 0) positions.insert(0, 1, 1);
    count = index.numel();
    size = whole.sizes[this->dim];
    along = whole.strides[this->dim];
    if (count == 0) return Status::ok;
    bool fits = whole.rank == positions.rank;
    for (int32_t d = 0; fits && d < whole.rank; d++) {
        fits = d == this->dim || positions.sizes[d] <= whole.sizes[d];
    }
    if (!fits) {
        return ctx.fail(
            "expected index of self's rank and at most its sizes %s except in dim %d "
            "but got %s",
            ShapeText(self).text, this->dim, ShapeText(index).text);
    }
    whole.strides[this->dim] = 0;
    return expect_indices(ctx, "index", index, size, false);
}

Status GatherLoop::expect_covered(Context& ctx, const char* name, const Tensor& t) const {
    if (count == 0) return Status::ok;
    const int32_t rank = t.rank == 0 ? 1 : t.rank;
    bool fits = rank == positions.rank;
    for (int32_t d = 0; fits && d < t.rank; d++) fits = positions.sizes[d] <= t.sizes[d];
    if (fits) return Status::ok;
    return ctx.fail("expected %s at least as large as index %s but got %s", name,
                    ShapeText(positions.rank, positions.sizes).text, ShapeText(t).text);
}

// out[i][j][k] = self[index[i][j][k]][j][k] for dim 0, and so on.
static Status gather_out(Context& ctx, const Tensor& self, int64_t dim, const Tensor& index, bool,
                         Tensor& out) {
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    GatherLoop loop;
    PENLIGHT_TRY(loop.prepare(ctx, self, dim, index));
    PENLIGHT_TRY(resize_like(ctx, out, index));
    with_word(item_size(self.dtype), [&](auto tag) {
        using Word = typename decltype(tag)::type;
        const Word* from = self.ptr<Word>();
        Word* to = out.ptr<Word>();
        loop.run(ctx, out, true, [=](int64_t at, int64_t here) { to[here] = from[at]; });
    });
    return Status::ok;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(gather_out)
