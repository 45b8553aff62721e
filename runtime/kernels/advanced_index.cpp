#include "advanced_index.h"

#include <algorithm>
#include <cinttypes>

namespace penlight::kernels {

static bool is_mask(const Tensor& t) {
    return t.dtype == PENLIGHT_BOOL || t.dtype == PENLIGHT_UINT8;
}

size_t advanced_index_scratch(const OptionalTensorList& indices) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < indices.size(); i++) {
        const Tensor* t = indices[i];
        if (t == nullptr || !is_mask(*t)) continue;
        size_t each;
        if (__builtin_mul_overflow(static_cast<size_t>(t->numel()),
                                   sizeof(int64_t) * static_cast<size_t>(t->rank), &each) ||
            __builtin_add_overflow(bytes, each, &bytes)) {
            return SIZE_MAX;
        }
    }
    return bytes;
}

Status AdvancedIndex::add_mask(Context& ctx, const Tensor& self, const Tensor& mask, int32_t dim,
                               std::byte** scratch) {
    if (mask.rank == 0 || dim + mask.rank > self.rank || entry_count + mask.rank > max_rank) {
        return ctx.fail("expected a mask of rank 1 to %d but got %d", self.rank - dim, mask.rank);
    }
    for (int32_t d = 0; d < mask.rank; d++) {
        if (mask.sizes[d] == self.sizes[dim + d]) continue;
        return ctx.fail("expected a mask of size %" PRId64 " for dim %d but got %" PRId64,
                        self.sizes[dim + d], dim + d, mask.sizes[d]);
    }
    const int64_t elements = mask.numel();
    int64_t* positions = reinterpret_cast<int64_t*>(*scratch);  // [rank][elements]
    *scratch += static_cast<size_t>(elements * mask.rank) * sizeof(int64_t);
    int64_t found = 0;
    if (elements > 0) {
        Odometer<1> at{mask.rank, mask.sizes, {mask.strides}, {}, {}};
        at.seek(0);
        for (int64_t i = 0; i < elements; i++, at.next()) {
            if (mask.ptr<uint8_t>()[at.offset[0]] == 0) continue;
            for (int32_t d = 0; d < mask.rank; d++) positions[d * elements + found] = at.index[d];
            found++;
        }
    }
    for (int32_t d = 0; d < mask.rank; d++) {
        Entry& e = entries[entry_count++];
        e = {positions + d * elements,
             true,
             self.sizes[dim + d],
             self.strides[dim + d],
             1,
             {},
             {},
             {}};
        e.sizes[0] = found;
        e.own[0] = 1;
    }
    return Status::ok;
}

Status AdvancedIndex::add(Context& ctx, const Tensor& self, const Tensor& index, int32_t* dim,
                          std::byte** scratch) {
    if (is_mask(index)) {
        PENLIGHT_TRY(add_mask(ctx, self, index, *dim, scratch));
        *dim += index.rank;
        return Status::ok;
    }
    PENLIGHT_TRY(expect_indices(ctx, "an index", index, self.sizes[*dim], true));
    Entry& e = entries[entry_count++];
    e = {index.data,
         index.dtype == PENLIGHT_INT64,
         self.sizes[*dim],
         self.strides[*dim],
         index.rank,
         {},
         {},
         {}};
    for (int32_t d = 0; d < index.rank; d++) {
        e.sizes[d] = index.sizes[d];
        e.own[d] = index.strides[d];
    }
    ++*dim;
    return Status::ok;
}

Status AdvancedIndex::broadcast(Context& ctx) {
    for (int32_t i = 0; i < entry_count; i++) rank = std::max(rank, entries[i].rank);
    for (int32_t d = 0; d < rank; d++) sizes[d] = 1;
    for (int32_t i = 0; i < entry_count; i++) {
        const Entry& e = entries[i];
        for (int32_t d = 0; d < e.rank; d++) {
            int64_t& size = sizes[rank - e.rank + d];
            if (e.sizes[d] == 1 || e.sizes[d] == size) continue;
            if (size != 1) {
                return ctx.fail("expected indices that broadcast together but got sizes %" PRId64
                                " and %" PRId64,
                                size, e.sizes[d]);
            }
            size = e.sizes[d];
        }
    }
    for (int32_t i = 0; i < entry_count; i++) {
        Entry& e = entries[i];
        for (int32_t d = 0; d < rank; d++) {
            const int32_t own = d - (rank - e.rank);
            e.strides[d] = own < 0 || e.sizes[own] == 1 ? 0 : e.own[own];
        }
    }
    return Status::ok;
}

// Places B and the dimensions that `indexed` does not name.
Status AdvancedIndex::lay_out(Context& ctx, const Tensor& self, uint32_t indexed) {
    int32_t first = 0;
    while (first < self.rank && !(indexed >> first & 1)) first++;
    const uint32_t run = indexed >> first;
    place = (run & (run + 1)) == 0 ? first : 0;
    for (int32_t d = 0; d < self.rank; d++) {
        if (indexed >> d & 1) continue;
        rest_sizes[rest_rank] = self.sizes[d];
        rest_strides[rest_rank++] = self.strides[d];
    }
    out_rank = rank + rest_rank;
    if (out_rank > max_rank) {
        return ctx.fail("expected a result of rank <= %d but got %d", max_rank, out_rank);
    }
    for (int32_t d = 0; d < out_rank; d++) {
        out_sizes[d] = d < place          ? rest_sizes[d]
                       : d < place + rank ? sizes[d - place]
                                          : rest_sizes[d - rank];
    }
    return Status::ok;
}

Status AdvancedIndex::prepare(Context& ctx, const Tensor& self, const OptionalTensorList& indices) {
    std::byte* scratch = ctx.scratch();
    if (advanced_index_scratch(indices) > ctx.scratch_size) {
        return ctx.fail("expected masks within the planned size but got larger ones");
    }
    int32_t dim = 0;
    uint32_t indexed = 0;
    for (uint32_t i = 0; i < indices.size(); i++) {
        if (dim >= self.rank) {
            return ctx.fail("expected at most %d indices but got %u", self.rank, indices.size());
        }
        if (indices[i] == nullptr) {
            dim++;
            continue;
        }
        const int32_t before = dim;
        PENLIGHT_TRY(add(ctx, self, *indices[i], &dim, &scratch));
        for (int32_t d = before; d < dim; d++) indexed |= uint32_t{1} << d;
    }
    if (entry_count == 0) return ctx.fail("expected at least one index tensor but got none");
    PENLIGHT_TRY(broadcast(ctx));
    return lay_out(ctx, self, indexed);
}

int64_t AdvancedIndex::count() const {
    int64_t n = 1;
    for (int32_t d = 0; d < rank; d++) n *= sizes[d];
    return n;
}

int64_t AdvancedIndex::rest_count() const {
    int64_t n = 1;
    for (int32_t d = 0; d < rest_rank; d++) n *= rest_sizes[d];
    return n;
}

int64_t AdvancedIndex::offset(int64_t b) const {
    int64_t index[max_rank];
    for (int32_t d = rank - 1; d >= 0; d--) {
        index[d] = d == 0 ? b : b % sizes[d];
        b /= sizes[d];
    }
    int64_t result = 0;
    for (int32_t i = 0; i < entry_count; i++) {
        const Entry& e = entries[i];
        int64_t at = 0;
        for (int32_t d = 0; d < rank; d++) at += index[d] * e.strides[d];
        const int64_t value = e.wide ? static_cast<const int64_t*>(e.data)[at]
                                     : static_cast<const int32_t*>(e.data)[at];
        result += (value < 0 ? value + e.size : value) * e.stride;
    }
    return result;
}

void AdvancedIndex::split(const int64_t* strides, int64_t* over_index, int64_t* over_rest) const {
    for (int32_t d = 0; d < rank; d++) over_index[d] = strides[place + d];
    for (int32_t d = 0; d < rest_rank; d++) over_rest[d] = strides[d < place ? d : d + rank];
}

RestLoop::RestLoop(const AdvancedIndex& index, const int64_t* other_strides) {
    int32_t outer = index.rest_rank;
    while (outer > 0) {
        const int32_t d = outer - 1;
        if (index.rest_sizes[d] != 1 && (index.rest_strides[d] != run || other_strides[d] != run)) {
            break;
        }
        run *= index.rest_sizes[d];
        outer--;
    }
    rank = outer;
    for (int32_t d = 0; d < rank; d++) {
        sizes[d] = index.rest_sizes[d];
        self[d] = index.rest_strides[d];
        other[d] = other_strides[d];
        count *= sizes[d];
    }
}

}  // namespace penlight::kernels
