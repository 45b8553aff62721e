#include <cinttypes>

#include "elementwise.h"
#include "movement.h"

namespace penlight::kernels {

// PyTorch's legacy: a tensor of shape [0] joins anything and adds nothing.
static bool skipped(const Tensor& t) { return t.rank == 1 && t.sizes[0] == 0; }

// region = t, converted to the region's dtype.
static Status write_converted(Context& ctx, const Tensor& t, View region) {
    Tensor target = tensor_of(region);
    return cast_into(ctx, t, target);
}

static Status cat_shape(Context& ctx, const TensorList& tensors, int64_t dim, int32_t* wrapped,
                        int32_t* rank, int64_t* sizes) {
    const Tensor* first = nullptr;
    for (uint32_t i = 0; i < tensors.size() && first == nullptr; i++) {
        if (!skipped(tensors[i])) first = &tensors[i];
    }
    if (first == nullptr) {
        *rank = 1, *wrapped = 0, sizes[0] = 0;
        return Status::ok;
    }
    PENLIGHT_TRY(expect_rank(ctx, "tensors", *first, 1, max_rank));
    PENLIGHT_TRY(wrap_dim(ctx, dim, first->rank, wrapped));
    *rank = first->rank;
    for (int32_t d = 0; d < *rank; d++) sizes[d] = first->sizes[d];
    sizes[*wrapped] = 0;
    for (uint32_t i = 0; i < tensors.size(); i++) {
        const Tensor& t = tensors[i];
        if (skipped(t)) continue;
        bool same = t.rank == *rank;
        for (int32_t d = 0; same && d < *rank; d++) same = d == *wrapped || t.sizes[d] == sizes[d];
        if (!same) {
            return ctx.fail("expected tensors[%u] to match %s except in dim %d but got %s", i,
                            ShapeText(*first).text, *wrapped, ShapeText(t).text);
        }
        if (__builtin_add_overflow(sizes[*wrapped], t.sizes[*wrapped], &sizes[*wrapped])) {
            return ctx.fail("expected sizes of a possible sum along dim %d", *wrapped);
        }
    }
    return Status::ok;
}

static Status cat_out(Context& ctx, TensorList tensors, int64_t dim, Tensor& out) {
    if (tensors.size() == 0) return ctx.fail("expected at least one tensor but got none");
    int32_t d, rank;
    int64_t sizes[max_rank];
    PENLIGHT_TRY(cat_shape(ctx, tensors, dim, &d, &rank, sizes));
    for (uint32_t i = 0; i < tensors.size(); i++) {
        if (tensors[i].dtype != out.dtype && !can_cast(tensors[i].dtype, out.dtype)) {
            return ctx.fail("expected tensors[%u] to convert to %s but got %s", i,
                            dtype_name(out.dtype), dtype_name(tensors[i].dtype));
        }
    }
    PENLIGHT_TRY(resize(ctx, out, rank, sizes));
    View region = view_of(out);
    for (uint32_t i = 0; i < tensors.size(); i++) {
        const Tensor& t = tensors[i];
        if (skipped(t)) continue;
        region.sizes[d] = t.sizes[d];
        PENLIGHT_TRY(write_converted(ctx, t, region));
        region.move(t.sizes[d] * region.strides[d]);
    }
    return Status::ok;
}

static Status stack_out(Context& ctx, TensorList tensors, int64_t dim, Tensor& out) {
    if (tensors.size() == 0) return ctx.fail("expected at least one tensor but got none");
    const Tensor& first = tensors[0];
    if (first.rank == max_rank) return ctx.fail("expected rank < %d but got it", max_rank);
    int32_t d;
    PENLIGHT_TRY(wrap_dim(ctx, dim, first.rank + 1, &d));
    for (uint32_t i = 0; i < tensors.size(); i++) {
        const Tensor& t = tensors[i];
        bool same = t.rank == first.rank;
        for (int32_t k = 0; same && k < t.rank; k++) same = t.sizes[k] == first.sizes[k];
        if (!same) {
            return ctx.fail("expected tensors[%u] of shape %s but got %s", i, ShapeText(first).text,
                            ShapeText(t).text);
        }
        if (t.dtype != out.dtype && !can_cast(t.dtype, out.dtype)) {
            return ctx.fail("expected tensors[%u] to convert to %s but got %s", i,
                            dtype_name(out.dtype), dtype_name(t.dtype));
        }
    }
    View shape = view_of(first);
    shape.insert(d, tensors.size(), 0);
    PENLIGHT_TRY(resize(ctx, out, shape.rank, shape.sizes));
    for (uint32_t i = 0; i < tensors.size(); i++) {
        View region = view_of(out);
        region.move(i * region.strides[d]);
        region.erase(d);
        PENLIGHT_TRY(write_converted(ctx, tensors[i], region));
    }
    return Status::ok;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(cat_out)
PENLIGHT_DEFINE_KERNEL(stack_out)
