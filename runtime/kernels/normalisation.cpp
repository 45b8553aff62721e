#include "normalisation.h"

#include <cinttypes>

namespace penlight::kernels {

double real_at(const Tensor& t, int64_t i) {
    double value = 0;
    visit_floating(t.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        value = convert<double>(t.ptr<T>()[i]);
    });
    return value;
}

void set_real(Tensor& t, int64_t i, double value) {
    visit_floating(t.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        t.ptr<T>()[i] = convert<T>(value);
    });
}

Status expect_vector(Context& ctx, const char* name, const Tensor* t, int64_t count) {
    if (t == nullptr) return Status::ok;
    if (!is_floating(t->dtype)) {
        return ctx.fail("expected %s of a floating dtype but got %s", name, dtype_name(t->dtype));
    }
    if (t->numel() != count) {
        return ctx.fail("expected %s of %" PRId64 " elements but got %" PRId64, name, count,
                        t->numel());
    }
    return expect_contiguous(ctx, name, *t);
}

bool same_layout(const Tensor& self, const Tensor& out) {
    bool same = true;
    for (int32_t d = 0; d < self.rank; d++) {
        same = same && (self.sizes[d] <= 1 || self.strides[d] == out.strides[d]);
    }
    return same;
}

Status split_axis(Context& ctx, const Tensor& self, const Tensor& out, int32_t dim, Axis* axis) {
    *axis = {self.numel(), 1, 1};
    if (self.rank == 0) return Status::ok;
    if (!same_layout(self, out)) {
        return ctx.fail("expected out in the input's dim order but got another");
    }
    if (self.sizes[dim] <= 1) {
        axis->size = self.sizes[dim];
        return Status::ok;
    }
    // A tensor fills its memory, so all dimensions inside this one take up its stride.
    axis->size = self.sizes[dim];
    axis->inner = self.strides[dim];
    axis->outer = self.numel() == 0 ? 0 : self.numel() / (axis->size * axis->inner);
    return Status::ok;
}

}  // namespace penlight::kernels
