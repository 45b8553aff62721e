// penlight::silu_mul and gelu_mul: the gates of feed-forward layers.
#include <algorithm>

#include "kernel.h"

#define PENLIGHT_TARGET_FLOAT_ONLY
#define PENLIGHT_TARGET_SOURCE "gated.simd.h"
#include "simd/for_each_target.h"

namespace penlight::kernels {
namespace {

using Gated = void (*)(const float* gate, const float* up, int64_t count, float* y);

Status gated(Context& ctx, Gated function, const Tensor& gate, const Tensor& up, Tensor& out) {
    if (gate.dtype != PENLIGHT_FLOAT || up.dtype != PENLIGHT_FLOAT || out.dtype != PENLIGHT_FLOAT ||
        gate.rank != up.rank || !std::equal(gate.sizes, gate.sizes + gate.rank, up.sizes))
        return ctx.fail("expected two float32 tensors of one shape; check shapes and dtypes");
    PENLIGHT_TRY(resize_like(ctx, out, gate));
    if (!gate.contiguous() || !up.contiguous() || !out.contiguous())
        return ctx.fail("expected contiguous tensors; make contiguous copies first");
    ctx.parallel_for(gate.numel(), 4096, [&](int64_t begin, int64_t end) {
        function(gate.ptr<float>() + begin, up.ptr<float>() + begin, end - begin,
                 out.ptr<float>() + begin);
    });
    return Status::ok;
}

Status silu_mul_out(Context& ctx, const Tensor& gate, const Tensor& up, Tensor& out) {
    return gated(ctx, PENLIGHT_SELECT_FLOAT(ctx.isa, silu_mul), gate, up, out);
}

Status gelu_mul_out(Context& ctx, const Tensor& gate, const Tensor& up, Tensor& out) {
    return gated(ctx, PENLIGHT_SELECT_FLOAT(ctx.isa, gelu_mul), gate, up, out);
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(gelu_mul_out)
PENLIGHT_DEFINE_KERNEL(silu_mul_out)
