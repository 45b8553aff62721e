// out[i] = start + i * step, for as long as it is before end
#include <algorithm>

#include "elementwise.h"
#include "integer.h"

namespace penlight::kernels {

static Status make_range(Context& ctx, const Scalar& start, const Scalar& end, const Scalar& step,
                         Tensor& out) {
    const double first = start.to_double(), last = end.to_double(), by = step.to_double();
    if (!std::isfinite(first) || !std::isfinite(last) || by == 0 || !std::isfinite(by)) {
        return ctx.fail("expected finite bounds and a step other than 0 but got %g to %g by %g",
                        first, last, by);
    }
    if ((last - first) * (by > 0 ? 1 : -1) < 0) {
        return ctx.fail("expected a step from start towards end but got %g to %g by %g", first,
                        last, by);
    }
    const double count = std::ceil((last - first) / by);
    const int64_t size = count < 0x1p62 ? static_cast<int64_t>(count) : int64_t{1} << 62;
    PENLIGHT_TRY(resize(ctx, out, 1, &size));
    const bool real = is_floating(out.dtype);
    const Compute c = real ? Compute::f64 : Compute::i64;
    const StoreFunction store = store_function(c, out.dtype);
    if (store == nullptr) return ctx.fail("expected a known dtype but got code %d", out.dtype);
    const int64_t from = scalar_as<int64_t>(start), advance = scalar_as<int64_t>(step);
    for (int64_t i = 0; i < size; i += 64) {
        const int64_t n = std::min<int64_t>(64, size - i);
        double reals[64];
        int64_t integers[64];
        for (int64_t j = 0; j < n; j++) {
            reals[j] = first + static_cast<double>(i + j) * by;
            integers[j] = wrap_add(from, wrap_multiply(i + j, advance));
        }
        store(real ? static_cast<const void*>(reals) : integers, 1, n,
              out.ptr<std::byte>() + static_cast<size_t>(i) * item_size(out.dtype));
    }
    return Status::ok;
}

static Status arange_out(Context& ctx, Scalar end, Tensor& out) {
    return make_range(ctx, int_scalar(0), end, int_scalar(1), out);
}
static Status arange_start_out(Context& ctx, Scalar start, Scalar end, Scalar step, Tensor& out) {
    return make_range(ctx, start, end, step, out);
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(arange_out)
PENLIGHT_DEFINE_KERNEL(arange_start_out)
