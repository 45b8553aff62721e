// Copies and casts. The dtype to cast to, and the order of dimensions to copy to, are those which
// `out` has; the arguments which ask for them were obeyed when the program was made.
#include "elementwise.h"

namespace penlight::kernels {

static Status cast_like(Context& ctx, const Tensor& self, Tensor& out) {
    PENLIGHT_TRY(resize_like(ctx, out, self));
    return cast_into(ctx, self, out);
}

static Status _to_copy_out(Context& ctx, const Tensor& self, bool, std::optional<int64_t>,
                           Tensor& out) {
    return cast_like(ctx, self, out);
}

static Status clone_out(Context& ctx, const Tensor& self, std::optional<int64_t>, Tensor& out) {
    return copy_same_shape(ctx, self, out);
}

static Status lift_fresh_copy_out(Context& ctx, const Tensor& self, Tensor& out) {
    return copy_same_shape(ctx, self, out);
}

// Of a real tensor, itself.
static Status _conj_physical_out(Context& ctx, const Tensor& self, Tensor& out) {
    return copy_same_shape(ctx, self, out);
}

// out = src, broadcast to the shape of self and cast to its dtype
static Status copy_out(Context& ctx, const Tensor& self, const Tensor& src, bool, Tensor& out) {
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    PENLIGHT_TRY(resize_like(ctx, out, self));
    return cast_into(ctx, src, out);
}
static Status copy_(Context& ctx, Tensor& self, const Tensor& src, bool) {
    return cast_into(ctx, src, self);
}

// A dim_order lists the dimensions from the outermost to the innermost in memory.
static Status check_dim_order(Context& ctx, const std::optional<IntList>& dim_order,
                              const Tensor& out) {
    if (!dim_order.has_value()) return Status::ok;
    bool same = dim_order->size() == static_cast<uint32_t>(out.rank);
    for (uint32_t d = 0; same && d < dim_order->size(); d++) {
        same = (*dim_order)[d] == out.dim_order[d];
    }
    if (same) return Status::ok;
    return ctx.fail("expected a dim_order equal to that of out; export the program again");
}

static Status _to_dim_order_copy_out(Context& ctx, const Tensor& self, bool,
                                     std::optional<IntList> dim_order, Tensor& out) {
    PENLIGHT_TRY(check_dim_order(ctx, dim_order, out));
    return cast_like(ctx, self, out);
}
static Status _clone_dim_order_out(Context& ctx, const Tensor& self, bool,
                                   std::optional<IntList> dim_order, Tensor& out) {
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    PENLIGHT_TRY(check_dim_order(ctx, dim_order, out));
    return cast_like(ctx, self, out);
}

// Host and device memory are one here.
static Status _h2d_copy_out(Context& ctx, const Tensor& self, Tensor& out) {
    return copy_same_shape(ctx, self, out);
}
static Status _d2h_copy_out(Context& ctx, const Tensor& self, Tensor& out) {
    return copy_same_shape(ctx, self, out);
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(_to_copy_out)
PENLIGHT_DEFINE_KERNEL(clone_out)
PENLIGHT_DEFINE_KERNEL(lift_fresh_copy_out)
PENLIGHT_DEFINE_KERNEL(_conj_physical_out)
PENLIGHT_DEFINE_KERNEL(copy_out)
PENLIGHT_DEFINE_KERNEL(copy_)
PENLIGHT_DEFINE_KERNEL(_to_dim_order_copy_out)
PENLIGHT_DEFINE_KERNEL(_clone_dim_order_out)
PENLIGHT_DEFINE_KERNEL(_h2d_copy_out)
PENLIGHT_DEFINE_KERNEL(_d2h_copy_out)
