// penlight::linear_add: residual + (x W + bias).
#include "linear.h"

#include <algorithm>

namespace penlight::kernels {
namespace {

struct AddStrips final : StripBody {
    const float* residual;
    float* out;
    int64_t rows;

    void combine(const Strip& s) const override {
        for (int64_t t = 0; t < s.tokens; t++) {
            const int64_t at = (s.first_token + t) * rows + s.first;
            const float* add = residual + at;
            const float* values = s.values[0] + t * s.rows;
            float* y = out + at;
            for (int64_t i = 0; i < s.rows; i++) y[i] = add[i] + values[i];
        }
    }
};

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
    AddStrips strips;
    strips.residual = residual.ptr<float>();
    strips.out = out.ptr<float>();
    strips.rows = out_features;
    prepare_linear(ctx, in);
    return run_strips(ctx, in, &product, 1, strips);
}

size_t linear_add_scratch(uint32_t threads, const Tensor&, const Tensor& x, const Tensor&,
                          std::string_view format, int64_t, const Tensor*, Tensor&) {
    return add_scratch(linear_scratch(x, false, format), strip_scratch(threads, x, 1));
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(linear_add_out, linear_add_scratch)
