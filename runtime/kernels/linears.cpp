// penlight::linears: products of one input with several packed weights, in one go.
#include "linear.h"

namespace penlight::kernels {
namespace {

constexpr uint32_t most_products = 8;

Status linears_out(Context& ctx, const Tensor& x, TensorList weights, std::string_view format,
                   IntList out_features, OptionalTensorList biases, const Tensor* norm, double eps,
                   double offset, OutTensorList out) {
    const uint32_t count = weights.size();
    if (count < 1 || count > most_products || out_features.size() != count ||
        biases.size() != count || out.size() != count)
        return ctx.fail(
            "expected 1 to %u weights, and as many sizes, biases and results, but got %u, %u, %u "
            "and %u; export the model again",
            most_products, count, out_features.size(), biases.size(), out.size());
    LinearInput in;
    PENLIGHT_TRY(open_linear(ctx, x, {norm, eps, offset}, format, &in));
    PackedProduct products[most_products];
    for (uint32_t i = 0; i < count; i++)
        PENLIGHT_TRY(
            add_product(ctx, in, weights[i], out_features[i], biases[i], out[i], &products[i]));
    prepare_linear(ctx, in);
    run_products(ctx, in, products, static_cast<int>(count));
    return Status::ok;
}

size_t linears_scratch(uint32_t threads, const Tensor& x, TensorList, std::string_view format,
                       IntList, OptionalTensorList, const Tensor* norm, double, double,
                       OutTensorList) {
    return linear_scratch(threads, x, norm != nullptr, format);
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(linears_out, linears_scratch)
