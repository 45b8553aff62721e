#include <algorithm>
#include <cinttypes>

#include "order.h"

namespace penlight::kernels {

// Whether a comes before b in the result; equal elements keep their order.
static bool before(const Ranked& a, const Ranked& b) {
    return a.key != b.key ? a.key < b.key : a.index < b.index;
}

// Restores the heap, whose root is the last in order, after its root has changed.
static void sift(Ranked* heap, int64_t count, int64_t at) {
    const Ranked moving = heap[at];
    for (int64_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && before(heap[child], heap[child + 1])) child++;
        if (!before(moving, heap[child])) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

// heap [k] = the first k of the row in order.
static void select_first(int32_t dtype, const std::byte* data, int64_t stride, int64_t n,
                         bool largest, int64_t k, Ranked* heap) {
    rank_row(dtype, data, stride, k, largest, heap);
    for (int64_t i = k / 2 - 1; i >= 0; i--) sift(heap, k, i);
    const uint64_t flip = largest ? ~uint64_t{0} : 0;
    visit_dtype(dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        const T* from = reinterpret_cast<const T*>(data);
        for (int64_t i = k; i < n; i++) {
            const uint64_t key = order_key(from[i * stride]) ^ flip;
            if (key >= heap[0].key) continue;
            heap[0] = {key, i};
            sift(heap, k, 0);
        }
    });
    for (int64_t end = k - 1; end > 0; end--) {
        std::swap(heap[0], heap[end]);
        sift(heap, end, 0);
    }
}

// The k largest (or smallest) along dim, best first whether or not `sorted` asks for it.
static Status topk_out(Context& ctx, const Tensor& self, int64_t k, int64_t dim, bool largest, bool,
                       Tensor& values, Tensor& indices) {
    RowLoop loop;
    PENLIGHT_TRY(loop.prepare(ctx, self, dim));
    if (k < 0 || k > loop.length) {
        return ctx.fail("expected k in [0, %" PRId64 "] but got %" PRId64, loop.length, k);
    }
    PENLIGHT_TRY(expect_dtype(ctx, "values", values, self.dtype));
    PENLIGHT_TRY(expect_dtype(ctx, "indices", indices, PENLIGHT_INT64));
    View shape = view_of(self);
    if (self.rank > 0) shape.sizes[loop.dim] = k;
    PENLIGHT_TRY(resize(ctx, values, self.rank, shape.sizes));
    PENLIGHT_TRY(resize(ctx, indices, self.rank, shape.sizes));
    PENLIGHT_TRY(expect_contiguous(ctx, "values", values));
    PENLIGHT_TRY(expect_contiguous(ctx, "indices", indices));
    if (k == 0) return Status::ok;
    const int64_t step = self.rank == 0 ? 1 : indices.strides[loop.dim];
    const size_t item = item_size(self.dtype);
    const size_t slot = static_cast<size_t>(k) * sizeof(Ranked);
    return loop.run(ctx, slot, indices, [&](std::byte* memory, int64_t from, int64_t to) {
        Ranked* heap = reinterpret_cast<Ranked*>(memory);
        const std::byte* data = self.ptr<std::byte>() + from * static_cast<int64_t>(item);
        select_first(self.dtype, data, loop.stride, loop.length, largest, k, heap);
        int64_t* index = indices.ptr<int64_t>() + to;
        with_word(item, [&](auto tag) {
            using Word = typename decltype(tag)::type;
            const Word* source = reinterpret_cast<const Word*>(data);
            Word* value = values.ptr<Word>() + to;
            for (int64_t i = 0; i < k; i++) {
                index[i * step] = heap[i].index;
                value[i * step] = source[heap[i].index * loop.stride];
            }
        });
    });
}

static size_t topk_scratch(uint32_t threads, const Tensor& self, int64_t k, int64_t dim, bool, bool,
                           Tensor&, Tensor&) {
    const int64_t d = dim < 0 ? dim + self.rank : dim;
    const int64_t length = d >= 0 && d < self.rank ? self.sizes[d] : 1;
    return slots_size(threads, std::clamp<int64_t>(k, 0, length), sizeof(Ranked));
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(topk_out, topk_scratch)
