// penlight::rope: rotary position embedding, pairs (i, i + R/2) of the first R of a head.
#include "kernel.h"

#define PENLIGHT_TARGET_FLOAT_ONLY
#define PENLIGHT_TARGET_SOURCE "rope.simd.h"
#include "simd/for_each_target.h"

namespace penlight::kernels {
namespace {

constexpr int64_t widest_half = 1024;

Status rope_out(Context& ctx, const Tensor& x, const Tensor& input_pos, const Tensor& inv_freq,
                double scaling, Tensor& out) {
    if (x.rank != 4 || x.dtype != PENLIGHT_FLOAT || out.dtype != PENLIGHT_FLOAT || x.size(0) != 1)
        return ctx.fail("expected float32 [1, T, H, D] but got %s of rank %d", dtype_name(x.dtype),
                        x.rank);
    if (inv_freq.dtype != PENLIGHT_FLOAT || inv_freq.rank != 1 || inv_freq.size(0) > widest_half ||
        2 * inv_freq.size(0) > x.size(3) || !inv_freq.contiguous())
        return ctx.fail(
            "expected at most %lld float32 frequencies, half the head's width, but got "
            "%lld",
            static_cast<long long>(widest_half), static_cast<long long>(inv_freq.numel()));
    if (input_pos.dtype != PENLIGHT_INT64 || input_pos.numel() != 1)
        return ctx.fail("expected one int64 position");
    PENLIGHT_TRY(resize_like(ctx, out, x));
    if (!x.contiguous() || !out.contiguous())
        return ctx.fail("expected contiguous tensors; make contiguous copies first");
    const int64_t heads = x.size(2), dim = x.size(3), start = input_pos.ptr<int64_t>()[0];
    auto* token = PENLIGHT_SELECT_FLOAT(ctx.isa, rope_token);
    ctx.parallel_for(x.size(1), 8, [&](int64_t begin, int64_t end) {
        float turns[2 * widest_half];
        for (int64_t t = begin; t < end; t++)
            token(x.ptr<float>() + t * heads * dim, heads, dim,
                  static_cast<float>(static_cast<double>(start) + static_cast<double>(t)),
                  inv_freq.ptr<float>(), inv_freq.size(0), static_cast<float>(scaling), turns,
                  out.ptr<float>() + t * heads * dim);
    });
    return Status::ok;
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(rope_out)
