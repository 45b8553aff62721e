// penlight::linear_add: residual + (x W + bias).
#include "linear.h"

#include <algorithm>

namespace penlight::kernels {
namespace {

Status linear_add_out(Context& ctx, const Tensor& residual, const Tensor& x, const Tensor& weight,
                      std::string_view format, int64_t out_features, const Tensor* bias,
                      Tensor& out) {
    LinearInput in;
    PackedProduct product;
    PENLIGHT_TRY(open_linear(ctx, x, {}, format, &in));
    PENLIGHT_TRY(add_product(ctx, in, weight, out_features, bias, out, &product));
    if (residual.dtype != PENLIGHT_FLOAT || residual.rank != out.rank || !residual.contiguous() ||
        !std::equal(out.sizes, out.sizes + out.rank, residual.sizes))
        return ctx.fail(
            "expected a contiguous float32 residual of the result's shape; check its shape and "
            "dtype");
    product.residual = residual.ptr<float>();
    prepare_linear(ctx, in);
    run_products(ctx, in, &product, 1);
    return Status::ok;
}

size_t linear_add_scratch(uint32_t threads, const Tensor&, const Tensor& x, const Tensor&,
                          std::string_view format, int64_t, const Tensor*, Tensor&) {
    return linear_scratch(threads, x, false, format);
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(linear_add_out, linear_add_scratch)
