#include <algorithm>

#include "movement.h"

namespace penlight::kernels {

// Copies self, then clears the columns [begin(row), end(row)) of every matrix.
template <class F>
static Status copy_and_clear(Context& ctx, const Tensor& self, Tensor& out, const F& range) {
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 2, max_rank));
    PENLIGHT_TRY(copy_same_shape(ctx, self, out));
    const int32_t outer = out.rank - 1;
    const int64_t columns = out.sizes[outer], step = out.strides[outer];
    if (out.numel() == 0) return Status::ok;
    with_word(item_size(out.dtype), [&](auto tag) {
        using Word = typename decltype(tag)::type;
        Word* data = out.ptr<Word>();
        ctx.parallel_for(out.numel() / columns, grain_for(columns),
                         [&](int64_t begin, int64_t end) {
                             Odometer<1> at{outer, out.sizes, {out.strides}, {}, {}};
                             at.seek(begin);
                             for (int64_t r = begin; r < end; r++, at.next()) {
                                 const auto [first, last] = range(at.index[outer - 1], columns);
                                 for (int64_t c = first; c < last; c++)
                                     data[at.offset[0] + c * step] = 0;
                             }
                         });
    });
    return Status::ok;
}

struct Columns {
    int64_t begin, end;
};

// A diagonal beyond the corners acts as the corner does; clamping keeps row + diagonal in range.
static int64_t clamp_diagonal(const Tensor& self, int64_t diagonal) {
    const int64_t rows = self.rank < 2 ? 0 : self.sizes[self.rank - 2];
    const int64_t columns = self.rank < 2 ? 0 : self.sizes[self.rank - 1];
    return std::clamp(diagonal, -rows - 1, columns);
}

static Status tril_out(Context& ctx, const Tensor& self, int64_t diagonal, Tensor& out) {
    const int64_t k = clamp_diagonal(self, diagonal);
    return copy_and_clear(ctx, self, out, [k](int64_t row, int64_t columns) {
        return Columns{std::clamp<int64_t>(row + k + 1, 0, columns), columns};
    });
}

static Status triu_out(Context& ctx, const Tensor& self, int64_t diagonal, Tensor& out) {
    const int64_t k = clamp_diagonal(self, diagonal);
    return copy_and_clear(ctx, self, out, [k](int64_t row, int64_t columns) {
        return Columns{0, std::clamp<int64_t>(row + k, 0, columns)};
    });
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(tril_out)
PENLIGHT_DEFINE_KERNEL(triu_out)
