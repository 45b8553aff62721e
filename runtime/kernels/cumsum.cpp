// cumsum and cumprod: out[.., i, ..] = self[.., 0, ..] + ... + self[.., i, ..] along one dim, or
// the product; real numbers accumulate in float64.
#include "elementwise.h"
#include "integer.h"

namespace penlight::kernels {

template <class A, bool product>
static void scan(const std::byte* from, int64_t from_step, LoadFunction load, std::byte* to,
                 int64_t to_step, StoreFunction store, int64_t count) {
    A total = product ? 1 : 0;
    for (int64_t i = 0; i < count; i++) {
        A x;
        load(from + i * from_step, 1, 1, &x);
        if constexpr (is_real<A>) {
            total = product ? total * x : total + x;
        } else {
            total = product ? wrap_multiply(total, x) : wrap_add(total, x);
        }
        store(&total, 1, 1, to + i * to_step);
    }
}

template <bool product>
static Status accumulate(Context& ctx, const Tensor& self, int64_t dim,
                         std::optional<int64_t> dtype, Tensor& out) {
    int32_t d;
    PENLIGHT_TRY(wrap_dim(ctx, dim, self.rank, &d));
    if (dtype) PENLIGHT_TRY(expect_dtype(ctx, "out", out, static_cast<int32_t>(*dtype)));
    PENLIGHT_TRY(resize_like(ctx, out, self));
    if (self.rank == 0) return cast_into(ctx, self, out);
    const Compute c = is_floating(out.dtype) ? Compute::f64 : Compute::i64;
    const LoadFunction load = load_function(c, self.dtype);
    const StoreFunction store = store_function(c, out.dtype);
    if (load == nullptr || store == nullptr) return ctx.fail("expected known dtypes");
    const auto in_item = static_cast<int64_t>(item_size(self.dtype));
    const auto out_item = static_cast<int64_t>(item_size(out.dtype));
    const int64_t length = self.sizes[d];
    if (self.numel() == 0) return Status::ok;
    const int64_t scans = self.numel() / length;
    const int64_t grain = 1 + 4096 / length;
    ctx.parallel_for(scans, grain, [&](int64_t begin, int64_t end) {
        for (int64_t s = begin; s < end; s++) {
            int64_t rest = s, from = 0, to = 0;
            for (int32_t i = self.rank - 1; i >= 0; i--) {
                if (i == d) continue;
                const int64_t index = rest % self.sizes[i];
                rest /= self.sizes[i];
                from += index * self.strides[i];
                to += index * out.strides[i];
            }
            auto* scan_as = c == Compute::f64 ? &scan<double, product> : &scan<int64_t, product>;
            scan_as(self.ptr<std::byte>() + from * in_item, self.strides[d] * in_item, load,
                    out.ptr<std::byte>() + to * out_item, out.strides[d] * out_item, store, length);
        }
    });
    return Status::ok;
}

static Status cumsum_out(Context& ctx, const Tensor& self, int64_t dim,
                         std::optional<int64_t> dtype, Tensor& out) {
    return accumulate<false>(ctx, self, dim, dtype, out);
}
static Status cumprod_out(Context& ctx, const Tensor& self, int64_t dim,
                          std::optional<int64_t> dtype, Tensor& out) {
    return accumulate<true>(ctx, self, dim, dtype, out);
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(cumsum_out)
PENLIGHT_DEFINE_KERNEL(cumprod_out)
