// penlight::linear: y[..., n] = sum_k x[..., k] W[n, k] + bias[n] with W packed (packed.h).
#include "linear.h"

#define PENLIGHT_TARGET_SOURCE "packed_linear.simd.h"
#include "simd/for_each_target.h"

namespace penlight::kernels {

const PackedCore* packed_core_of(Isa isa) { return PENLIGHT_SELECT(isa, packed_core); }

namespace {

Status packed_linear_out(Context& ctx, const Tensor& x, const Tensor& weight,
                         std::string_view format, int64_t out_features, const Tensor* bias,
                         Tensor& out) {
    LinearInput in;
    PackedProduct p;
    PENLIGHT_TRY(open_linear(ctx, x, {}, format, &in));
    PENLIGHT_TRY(add_product(ctx, in, weight, out_features, bias, out, &p));
    prepare_linear(ctx, in);
    run_products(ctx, in, &p, 1);
    return Status::ok;
}

size_t packed_linear_scratch(uint32_t threads, const Tensor& x, const Tensor&,
                             std::string_view format, int64_t, const Tensor*, Tensor&) {
    return linear_scratch(threads, x, false, format);
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(packed_linear_out, packed_linear_scratch)
