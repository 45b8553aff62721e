// penlight::gated_linear: act(x Wg + bg) * (x Wu + bu), the first half of a feed-forward layer.
#include <algorithm>

#include "gated.h"
#include "linear.h"

namespace penlight::kernels {
namespace {

struct GatedStrips final : StripBody {
    Gated gated;
    float* out;
    int64_t rows;

    void combine(const Strip& s) const override {
        for (int64_t t = 0; t < s.tokens; t++)
            gated(s.values[0] + t * s.rows, s.values[1] + t * s.rows, s.rows,
                  out + (s.first_token + t) * rows + s.first);
    }
};

Status gated_linear_out(Context& ctx, const Tensor& x, const Tensor& gate, const Tensor& up,
                        std::string_view format, int64_t out_features, std::string_view activation,
                        const Tensor* gate_bias, const Tensor* up_bias, const Tensor* norm,
                        double eps, double offset, Tensor& out) {
    GatedStrips strips;
    strips.gated = gated_of_name(ctx.isa, activation);
    if (!strips.gated)
        return ctx.fail("expected the activation silu or gelu but got \"%.*s\"",
                        static_cast<int>(std::min<size_t>(activation.size(), 32)),
                        activation.data());
    LinearInput in;
    PENLIGHT_TRY(open_linear(ctx, x, {norm, eps, offset}, format, &in));
    PackedProduct products[2];
    PENLIGHT_TRY(add_product(ctx, in, gate, out_features, gate_bias, out, &products[0]));
    PENLIGHT_TRY(add_product(ctx, in, up, out_features, up_bias, out, &products[1]));
    strips.out = out.ptr<float>();
    strips.rows = out_features;
    prepare_linear(ctx, in);
    return run_strips(ctx, in, products, 2, strips);
}

size_t gated_linear_scratch(uint32_t threads, const Tensor& x, const Tensor&, const Tensor&,
                            std::string_view format, int64_t, std::string_view, const Tensor*,
                            const Tensor*, const Tensor* norm, double, double, Tensor&) {
    return add_scratch(linear_scratch(threads, x, norm != nullptr, format),
                       strip_scratch(threads, x, 2));
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(gated_linear_out, gated_linear_scratch)
