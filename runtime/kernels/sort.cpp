// sort and argsort: a stable bottom-up merge sort of (key, index) pairs, whatever the dtype.
#include <algorithm>

#include "order.h"

namespace penlight::kernels {

static void sort_run(Ranked* row, int64_t begin, int64_t end) {
    for (int64_t i = begin + 1; i < end; i++) {
        const Ranked moving = row[i];
        int64_t at = i;
        for (; at > begin && row[at - 1].key > moving.key; at--) row[at] = row[at - 1];
        row[at] = moving;
    }
}

static void merge(const Ranked* from, int64_t begin, int64_t middle, int64_t end, Ranked* to) {
    int64_t a = begin, b = middle;
    for (int64_t i = begin; i < end; i++) {
        const bool second = a == middle || (b < end && from[b].key < from[a].key);
        to[i] = second ? from[b++] : from[a++];
    }
}

// Sorts row [n] with the help of spare [n]; returns the one that holds the result.
static const Ranked* merge_sort(Ranked* row, Ranked* spare, int64_t n) {
    constexpr int64_t first = 16;
    for (int64_t i = 0; i < n; i += first) sort_run(row, i, std::min(i + first, n));
    for (int64_t width = first; width < n; width *= 2) {
        for (int64_t i = 0; i < n; i += 2 * width) {
            merge(row, i, std::min(i + width, n), std::min(i + 2 * width, n), spare);
        }
        std::swap(row, spare);
    }
    return row;
}

// values may be null: argsort.
static Status sort_rows(Context& ctx, const Tensor& self, int64_t dim, bool descending,
                        Tensor* values, Tensor& indices) {
    RowLoop loop;
    PENLIGHT_TRY(loop.prepare(ctx, self, dim));
    PENLIGHT_TRY(expect_dtype(ctx, "indices", indices, PENLIGHT_INT64));
    PENLIGHT_TRY(resize_like(ctx, indices, self));
    if (values != nullptr) {
        PENLIGHT_TRY(expect_dtype(ctx, "values", *values, self.dtype));
        PENLIGHT_TRY(resize_like(ctx, *values, self));
        for (int32_t d = 0; d < self.rank; d++) {
            if (self.sizes[d] > 1 && values->strides[d] != indices.strides[d]) {
                return ctx.fail("expected values and indices in one dim order but got two");
            }
        }
    }
    const int64_t step = self.rank == 0 ? 1 : indices.strides[loop.dim];
    const int64_t n = loop.length;
    const size_t slot = 2 * static_cast<size_t>(n) * sizeof(Ranked);
    const size_t item = item_size(self.dtype);
    return loop.run(ctx, slot, indices, [&](std::byte* memory, int64_t from, int64_t to) {
        Ranked* row = reinterpret_cast<Ranked*>(memory);
        const std::byte* data = self.ptr<std::byte>() + from * static_cast<int64_t>(item);
        rank_row(self.dtype, data, loop.stride, n, descending, row);
        const Ranked* sorted = merge_sort(row, row + n, n);
        int64_t* index = indices.ptr<int64_t>() + to;
        for (int64_t i = 0; i < n; i++) index[i * step] = sorted[i].index;
        if (values == nullptr) return;
        with_word(item, [&](auto tag) {
            using Word = typename decltype(tag)::type;
            const Word* source = reinterpret_cast<const Word*>(data);
            Word* value = values->ptr<Word>() + to;
            for (int64_t i = 0; i < n; i++) {
                value[i * step] = source[sorted[i].index * loop.stride];
            }
        });
    });
}

static size_t rows_scratch(uint32_t threads, const Tensor& self, int64_t dim) {
    if (self.rank == 0) return slots_size(threads, 1, 2 * sizeof(Ranked));
    const int64_t d = dim < 0 ? dim + self.rank : dim;
    if (d < 0 || d >= self.rank) return 0;
    return slots_size(threads, self.sizes[d], 2 * sizeof(Ranked));
}

static Status sort_out(Context& ctx, const Tensor& self, int64_t dim, bool descending,
                       Tensor& values, Tensor& indices) {
    return sort_rows(ctx, self, dim, descending, &values, indices);
}
static size_t sort_scratch(uint32_t threads, const Tensor& self, int64_t dim, bool, Tensor&,
                           Tensor&) {
    return rows_scratch(threads, self, dim);
}

static Status sort_stable_out(Context& ctx, const Tensor& self, std::optional<bool>, int64_t dim,
                              bool descending, Tensor& values, Tensor& indices) {
    return sort_rows(ctx, self, dim, descending, &values, indices);
}
static size_t sort_stable_scratch(uint32_t threads, const Tensor& self, std::optional<bool>,
                                  int64_t dim, bool, Tensor&, Tensor&) {
    return rows_scratch(threads, self, dim);
}

static Status argsort_out(Context& ctx, const Tensor& self, bool, int64_t dim, bool descending,
                          Tensor& out) {
    return sort_rows(ctx, self, dim, descending, nullptr, out);
}
static size_t argsort_scratch(uint32_t threads, const Tensor& self, bool, int64_t dim, bool,
                              Tensor&) {
    return rows_scratch(threads, self, dim);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(sort_out, sort_scratch)
PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(sort_stable_out, sort_stable_scratch)
PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(argsort_out, argsort_scratch)
