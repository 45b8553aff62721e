// masked_select and masked_scatter: elements where a mask is true, in row-major order.
#include <algorithm>
#include <cinttypes>

#include "movement.h"

namespace penlight::kernels {

// Two tensors broadcast to one shape.
struct Masked {
    int32_t rank;
    int64_t sizes[max_rank];
    int64_t self[max_rank];
    int64_t mask[max_rank];

    int64_t count() const {
        int64_t n = 1;
        for (int32_t d = 0; d < rank; d++) n *= sizes[d];
        return n;
    }
};

static Status broadcast_mask(Context& ctx, const Tensor& self, const Tensor& mask, Masked* m) {
    if (mask.dtype != PENLIGHT_BOOL && mask.dtype != PENLIGHT_UINT8) {
        return ctx.fail("expected mask of dtype bool but got %s", dtype_name(mask.dtype));
    }
    m->rank = std::max(self.rank, mask.rank);
    for (int32_t d = 0; d < m->rank; d++) {
        const int32_t s = d - (m->rank - self.rank), k = d - (m->rank - mask.rank);
        const int64_t a = s < 0 ? 1 : self.sizes[s], b = k < 0 ? 1 : mask.sizes[k];
        if (a != b && a != 1 && b != 1) {
            return ctx.fail("expected a mask that broadcasts with %s but got %s",
                            ShapeText(self).text, ShapeText(mask).text);
        }
        m->sizes[d] = a == 1 ? b : a;
        m->self[d] = a == 1 ? 0 : self.strides[s];
        m->mask[d] = b == 1 ? 0 : mask.strides[k];
    }
    return Status::ok;
}

// body(offset in self) wherever the mask is true.
template <class F> static void where_true(const Masked& m, const Tensor& mask, const F& body) {
    const int64_t count = m.count();
    if (count == 0) return;
    Odometer<2> at{m.rank, m.sizes, {m.self, m.mask}, {}, {}};
    at.seek(0);
    for (int64_t i = 0; i < count; i++, at.next()) {
        if (mask.ptr<uint8_t>()[at.offset[1]] != 0) body(at.offset[0]);
    }
}

static Status masked_select_out(Context& ctx, const Tensor& self, const Tensor& mask, Tensor& out) {
    Masked m;
    PENLIGHT_TRY(broadcast_mask(ctx, self, mask, &m));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    int64_t found = 0;
    where_true(m, mask, [&](int64_t) { found++; });
    PENLIGHT_TRY(resize(ctx, out, 1, &found));
    with_word(item_size(self.dtype), [&](auto tag) {
        using Word = typename decltype(tag)::type;
        const Word* from = self.ptr<Word>();
        Word* to = out.ptr<Word>();
        where_true(m, mask, [&](int64_t at) { *to++ = from[at]; });
    });
    return Status::ok;
}

// out = self broadcast with mask, where its true elements take those of source one after another.
static Status masked_scatter_out(Context& ctx, const Tensor& self, const Tensor& mask,
                                 const Tensor& source, Tensor& out) {
    Masked m;
    PENLIGHT_TRY(broadcast_mask(ctx, self, mask, &m));
    PENLIGHT_TRY(expect_dtype(ctx, "source", source, self.dtype));
    PENLIGHT_TRY(expect_contiguous(ctx, "source", source));
    View whole = view_of(self);
    whole.rank = m.rank;
    for (int32_t d = 0; d < m.rank; d++) whole.sizes[d] = m.sizes[d], whole.strides[d] = m.self[d];
    int64_t found = 0;
    where_true(m, mask, [&](int64_t) { found++; });
    if (found > source.numel()) {
        return ctx.fail("expected a source of %" PRId64 " elements or more but got %" PRId64, found,
                        source.numel());
    }
    PENLIGHT_TRY(copy_view(ctx, whole, out));
    for (int32_t d = 0; d < m.rank; d++) m.self[d] = out.strides[d];
    with_word(item_size(self.dtype), [&](auto tag) {
        using Word = typename decltype(tag)::type;
        const Word* from = source.ptr<Word>();
        Word* to = out.ptr<Word>();
        where_true(m, mask, [&](int64_t at) { to[at] = *from++; });
    });
    return Status::ok;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(masked_select_out)
PENLIGHT_DEFINE_KERNEL(masked_scatter_out)
