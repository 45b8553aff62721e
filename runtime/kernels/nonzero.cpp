#include "dtype.h"
#include "movement.h"

namespace penlight::kernels {

// body(index) for every element that is not zero (NaN is not), in row-major order.
template <class T, class F> static void for_nonzero(const Tensor& self, const F& body) {
    const int64_t count = self.numel();
    if (count == 0) return;
    Odometer<1> at{self.rank, self.sizes, {self.strides}, {}, {}};
    at.seek(0);
    for (int64_t i = 0; i < count; i++, at.next()) {
        if (convert<Bool>(self.ptr<T>()[at.offset[0]]).bits != 0) body(at.index);
    }
}

// out [found, rank], int64; column-major where the graph says so, as eager PyTorch's is
static Status nonzero_out(Context& ctx, const Tensor& self, Tensor& out) {
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, PENLIGHT_INT64));
    Status status = Status::ok;
    visit_dtype(self.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        int64_t found = 0;
        for_nonzero<T>(self, [&](const int64_t*) { found++; });
        const int64_t sizes[] = {found, self.rank};
        status = resize(ctx, out, 2, sizes);
        if (status != Status::ok) return;
        int64_t* to = out.ptr<int64_t>();
        const int64_t row = out.strides[0], column = out.strides[1];
        for_nonzero<T>(self, [&](const int64_t* index) {
            for (int32_t d = 0; d < self.rank; d++) to[d * column] = index[d];
            to += row;
        });
    });
    return status;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(nonzero_out)
