// penlight::silu_mul and gelu_mul: the gates of feed-forward layers.
#include "gated.h"

#include <algorithm>

#define PENLIGHT_TARGET_FLOAT_ONLY
#define PENLIGHT_TARGET_SOURCE "gated.simd.h"
#include "simd/for_each_target.h"

namespace penlight::kernels {

Gated gated_of_name(Isa isa, std::string_view activation) {
    if (activation == "silu") return PENLIGHT_SELECT_FLOAT(isa, silu_mul);
    return activation == "gelu" ? PENLIGHT_SELECT_FLOAT(isa, gelu_mul) : nullptr;
}

namespace {

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
    return gated(ctx, gated_of_name(ctx.isa, "silu"), gate, up, out);
}

Status gelu_mul_out(Context& ctx, const Tensor& gate, const Tensor& up, Tensor& out) {
    return gated(ctx, gated_of_name(ctx.isa, "gelu"), gate, up, out);
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(gelu_mul_out)
PENLIGHT_DEFINE_KERNEL(silu_mul_out)
