// penlight::rms_norm: root mean square normalisation of the last dimension.
#include "rms_norm.h"

#define PENLIGHT_TARGET_FLOAT_ONLY
#define PENLIGHT_TARGET_SOURCE "rms_norm.simd.h"
#include "simd/for_each_target.h"

namespace penlight::kernels {

RmsNormRow rms_norm_row_of(Isa isa) { return PENLIGHT_SELECT_FLOAT(isa, rms_norm_row); }

namespace {

Status rms_norm_out(Context& ctx, const Tensor& x, const Tensor& weight, double eps, double offset,
                    Tensor& out) {
    if (x.rank < 1 || x.dtype != PENLIGHT_FLOAT || weight.dtype != PENLIGHT_FLOAT ||
        out.dtype != PENLIGHT_FLOAT || weight.rank != 1 || weight.size(0) != x.size(x.rank - 1))
        return ctx.fail(
            "expected float32 input [..., N], weight [N] and result; check shapes and "
            "dtypes");
    PENLIGHT_TRY(resize_like(ctx, out, x));
    if (!x.contiguous() || !weight.contiguous() || !out.contiguous())
        return ctx.fail("expected contiguous tensors; make contiguous copies first");
    const int64_t width = weight.size(0);
    if (width == 0) return Status::ok;
    const RmsNormRow row = rms_norm_row_of(ctx.isa);
    ctx.parallel_for(x.numel() / width, 8, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; r++)
            row(x.ptr<float>() + r * width, weight.ptr<float>(), width, static_cast<float>(eps),
                static_cast<float>(offset), out.ptr<float>() + r * width);
    });
    return Status::ok;
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(rms_norm_out)
