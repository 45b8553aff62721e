// x[i, :, mask]: the shared half of index and index_put.
//
//   AdvancedIndex index;
//   PENLIGHT_TRY(index.prepare(ctx, self, indices));      // shapes, masks to positions, bounds
//   for (int64_t b = 0; b < index.count(); b++) index.offset(b) ...   // elements into self
//
// Every mask of k dimensions counts as k index tensors, the positions of its true elements, which
// are kept in the kernel's scratch memory. All index tensors broadcast to one shape B. The result
// has B in the place of the indexed dimensions if these are adjacent, else B comes first; the
// dimensions that are not indexed ("rest") keep their order.
#pragma once

#include "movement.h"

namespace penlight::kernels {

struct AdvancedIndex {
    struct Entry {
        const void* data;
        bool wide;       // int64, else int32
        int64_t size;    // of the indexed dimension
        int64_t stride;  // of the indexed dimension in self
        int32_t rank;    // of the index tensor
        int64_t sizes[max_rank];
        int64_t own[max_rank];      // the index tensor's strides
        int64_t strides[max_rank];  // broadcast to B
    };
    Entry entries[max_rank];
    int32_t entry_count = 0;

    int32_t rank = 0;  // of B
    int64_t sizes[max_rank];

    int32_t rest_rank = 0;
    int64_t rest_sizes[max_rank];
    int64_t rest_strides[max_rank];  // in self

    int32_t out_rank = 0;
    int64_t out_sizes[max_rank];
    int32_t place = 0;  // where B begins in the result's dimensions

    Status prepare(Context& ctx, const Tensor& self, const OptionalTensorList& indices);
    int64_t count() const;       // positions in B
    int64_t rest_count() const;  // elements at each
    // Offset in self of position b of B.
    int64_t offset(int64_t b) const;
    // Splits the strides of a tensor of the result's shape into those of B and of the rest.
    void split(const int64_t* strides, int64_t* over_index, int64_t* over_rest) const;

  private:
    Status add(Context& ctx, const Tensor& self, const Tensor& index, int32_t* dim,
               std::byte** scratch);
    Status add_mask(Context& ctx, const Tensor& self, const Tensor& mask, int32_t dim,
                    std::byte** scratch);
    Status broadcast(Context& ctx);
    Status lay_out(Context& ctx, const Tensor& self, uint32_t indexed);
};

// Bytes for the positions of all masks.
size_t advanced_index_scratch(const OptionalTensorList& indices);

// The rest dimensions of a copy between self and a tensor of the result's shape, in runs.
struct RestLoop {
    int32_t rank = 0;  // outside the runs
    int64_t sizes[max_rank];
    int64_t self[max_rank];
    int64_t other[max_rank];
    int64_t run = 1;    // elements
    int64_t count = 1;  // runs

    // `other` are the strides of the other tensor over the rest.
    RestLoop(const AdvancedIndex& index, const int64_t* other_strides);
};

}  // namespace penlight::kernels
