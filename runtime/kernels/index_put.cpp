#include "advanced_index.h"
#include "gather.h"

namespace penlight::kernels {

// Strides of `values` broadcast to the shape of self[indices].
static Status broadcast_values(Context& ctx, const AdvancedIndex& index, const Tensor& values,
                               int64_t* strides) {
    bool fits = values.rank <= index.out_rank;
    for (int32_t d = 0; fits && d < index.out_rank; d++) {
        const int32_t own = d - (index.out_rank - values.rank);
        const bool repeated = own < 0 || values.sizes[own] == 1;
        fits = repeated || values.sizes[own] == index.out_sizes[d];
        strides[d] = repeated || !fits ? 0 : values.strides[own];
    }
    if (fits) return Status::ok;
    return ctx.fail("expected values that broadcast to %s but got %s",
                    ShapeText(index.out_rank, index.out_sizes).text, ShapeText(values).text);
}

// target[indices] = values, or +=. Positions are visited in order,
// in one thread, so that the last of several writes to one element wins.
template <class Write>
static void put(const AdvancedIndex& index, const int64_t* strides, const Write& write) {
    int64_t over_index[max_rank], over_rest[max_rank];
    index.split(strides, over_index, over_rest);
    const RestLoop rest(index, over_rest);
    const int64_t count = index.count();
    if (count == 0 || rest.count == 0 || rest.run == 0) return;
    Odometer<1> at{index.rank, index.sizes, {over_index}, {}, {}};
    at.seek(0);
    for (int64_t b = 0; b < count; b++, at.next()) {
        const int64_t target = index.offset(b);
        Odometer<2> inner{rest.rank, rest.sizes, {rest.self, rest.other}, {}, {}};
        inner.seek(0);
        for (int64_t r = 0; r < rest.count; r++, inner.next()) {
            write(target + inner.offset[0], at.offset[0] + inner.offset[1], rest.run);
        }
    }
}

static Status put_into(Context& ctx, Tensor& target, const OptionalTensorList& indices,
                       const Tensor& values, bool accumulate) {
    PENLIGHT_TRY(expect_dtype(ctx, "values", values, target.dtype));
    AdvancedIndex index;
    int64_t strides[max_rank];
    PENLIGHT_TRY(index.prepare(ctx, target, indices));
    PENLIGHT_TRY(broadcast_values(ctx, index, values, strides));
    if (!accumulate) {
        const size_t item = item_size(target.dtype);
        std::byte* to = target.ptr<std::byte>();
        const std::byte* from = values.ptr<std::byte>();
        put(index, strides, [&](int64_t target_at, int64_t value_at, int64_t run) {
            copy_run(to + target_at * static_cast<int64_t>(item),
                     from + value_at * static_cast<int64_t>(item), static_cast<size_t>(run) * item);
        });
        return Status::ok;
    }
    visit_dtype(target.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        T* to = target.ptr<T>();
        const T* from = values.ptr<T>();
        put(index, strides, [&](int64_t target_at, int64_t value_at, int64_t run) {
            for (int64_t i = 0; i < run; i++) {
                to[target_at + i] = sum_of(to[target_at + i], from[value_at + i]);
            }
        });
    });
    return Status::ok;
}

static Status index_put_out(Context& ctx, const Tensor& self, OptionalTensorList indices,
                            const Tensor& values, bool accumulate, Tensor& out) {
    PENLIGHT_TRY(copy_same_shape(ctx, self, out));
    return put_into(ctx, out, indices, values, accumulate);
}

static size_t index_put_scratch(uint32_t, const Tensor&, OptionalTensorList indices, const Tensor&,
                                bool, Tensor&) {
    return advanced_index_scratch(indices);
}

static Status index_put_(Context& ctx, Tensor& self, OptionalTensorList indices,
                         const Tensor& values, bool accumulate) {
    return put_into(ctx, self, indices, values, accumulate);
}

static size_t index_put_in_place_scratch(uint32_t, Tensor&, OptionalTensorList indices,
                                         const Tensor&, bool) {
    return advanced_index_scratch(indices);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(index_put_out, index_put_scratch)
PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(index_put_, index_put_in_place_scratch)
