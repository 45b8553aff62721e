// What the operators around products with packed weights (packed.h) share: the checks of their
// arguments, and activations that are normalised and quantised once, whatever number of products
// reads them.
//
//   LinearInput in;
//   PENLIGHT_TRY(open_linear(ctx, x, {norm, eps, offset}, format, &in));
//   PackedProduct p;
//   PENLIGHT_TRY(add_product(ctx, in, weight, rows, bias, out, &p));   // also shapes the result
//   prepare_linear(ctx, in);
//   run_products(ctx, in, &p, 1);
#pragma once

#include "packed.h"

namespace penlight::kernels {

// An RMS norm in front of a product: x / sqrt(mean(x^2) + eps) * (weight + offset).
struct InputNorm {
    const Tensor* weight;  // [inputs], or null: no norm
    double eps, offset;
};

struct LinearInput {
    const PackedCore* core;
    std::string_view format;
    const Tensor* x;
    InputNorm norm;
    PackedProduct shared;  // what all products have in common: their format and activations
    float* normed;         // [tokens][inputs], in scratch memory, if there is a norm
    std::byte* expanded;   // each thread's expanded_bytes(), in scratch memory, or null
    std::byte* rest;       // scratch memory behind the activations, `rest_size` bytes
    size_t rest_size;
};

// Checks x [..., inputs], the norm and the format, and divides the scratch memory.
Status open_linear(Context& ctx, const Tensor& x, const InputNorm& norm, std::string_view format,
                   LinearInput* in);
// Checks a weight and its bias (or null), gives `out` its shape [..., rows], and describes the
// product.
Status add_product(Context& ctx, const LinearInput& in, const Tensor& weight, int64_t rows,
                   const Tensor* bias, Tensor& out, PackedProduct* product);
// Normalises and quantises the activations, for all products.
void prepare_linear(Context& ctx, const LinearInput& in);
// Bytes of scratch memory that the activations take at most, a multiple of 64; SIZE_MAX: overflow.
size_t linear_scratch(uint32_t threads, const Tensor& x, bool norm, std::string_view format);

// All results of `count` products of prepared activations, in one parallel region.
void run_products(Context& ctx, const LinearInput& in, const PackedProduct* products, int count);

// ---- products whose results meet something else before they are stored ----

// A strip is some tokens' part of a run of blocks of rows: its results [tokens][rows], of one or
// two products, stay in the cache until `combine` has made the operator's result from them. Threads
// take strips in turn, each with strip memory of its own.
struct Strip {
    int64_t first_token, tokens;
    int64_t first, rows;  // of the whole result's rows
    const float* values[2];
};
struct StripBody {
    virtual void combine(const Strip& strip) const = 0;

  protected:
    ~StripBody() = default;
};
Status run_strips(Context& ctx, const LinearInput& in, const PackedProduct* products, int count,
                  const StripBody& body);
// Bytes of scratch memory that strips take at most; SIZE_MAX: overflow.
size_t strip_scratch(uint32_t threads, const Tensor& x, int count);
// The sum of two such numbers; SIZE_MAX: overflow.
inline size_t add_scratch(size_t a, size_t b) { return a > SIZE_MAX - b ? SIZE_MAX : a + b; }

}  // namespace penlight::kernels
