// rand, randn and native_dropout. Numbers come from SplitMix64 (Steele, Lea and Flood, 2014) over
// a counter that the whole process shares; they cannot be those of PyTorch, whatever the seed.
#include "elementwise.h"

namespace penlight::kernels {

static constinit std::atomic<uint64_t> counter{0};

static uint64_t random_bits(uint64_t index) {
    uint64_t z = (index + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
// In [0, 1), a multiple of 2^-24: exact in float32.
static double uniform(uint64_t index) {
    return static_cast<double>(random_bits(index) >> 40) * 0x1p-24;
}
// By Box and Muller from two uniform numbers, the first of which is not 0.
static double normal(uint64_t index) {
    const double radius = std::sqrt(-2 * std::log(1 - uniform(2 * index)));
    return radius * std::cos(6.283185307179586 * uniform(2 * index + 1));
}

template <class F> static void generate(Tensor& out, const F& number) {
    const StoreFunction store = store_function(Compute::f64, out.dtype);
    const int64_t count = out.numel();
    const uint64_t first = counter.fetch_add(2 * static_cast<uint64_t>(count) + 2);
    for (int64_t i = 0; i < count; i++) {
        const double value = number(first / 2 + static_cast<uint64_t>(i));
        store(&value, 1, 1, out.ptr<std::byte>() + static_cast<size_t>(i) * item_size(out.dtype));
    }
}

static Status set_shape(Context& ctx, const IntList& size, Tensor& out) {
    int64_t sizes[max_rank];
    if (size.size() > max_rank || !is_floating(out.dtype)) {
        return ctx.fail("expected at most %d dims of a floating dtype but got %u of %s", max_rank,
                        size.size(), dtype_name(out.dtype));
    }
    for (uint32_t d = 0; d < size.size(); d++) sizes[d] = size[d];
    return resize(ctx, out, static_cast<int32_t>(size.size()), sizes);
}

static Status rand_out(Context& ctx, IntList size, Tensor& out) {
    PENLIGHT_TRY(set_shape(ctx, size, out));
    generate(out, &uniform);
    return Status::ok;
}
static Status randn_out(Context& ctx, IntList size, Tensor& out) {
    PENLIGHT_TRY(set_shape(ctx, size, out));
    generate(out, &normal);
    return Status::ok;
}

// p: what a kept element is multiplied by
static constexpr PointwiseOp drop_op =
    generic<[](auto x, auto mask, const auto* p) { return mask != 0 ? x * p[0] : decltype(x)(0); },
            2>();

// In inference a copy, and a mask of ones.
static Status native_dropout_out(Context& ctx, const Tensor& input, double p,
                                 std::optional<bool> train, Tensor& out0, Tensor& out1) {
    if (!(p >= 0 && p <= 1)) return ctx.fail("expected p from 0 to 1 but got %g", p);
    PENLIGHT_TRY(expect_dtype(ctx, "the mask", out1, PENLIGHT_BOOL));
    PENLIGHT_TRY(resize_like(ctx, out1, input));
    if (!train.value_or(true)) {
        PENLIGHT_TRY(fill_with(ctx, int_scalar(1), out1));
        return copy_same_shape(ctx, input, out0);
    }
    if (!is_floating(input.dtype)) {
        return ctx.fail("expected a floating dtype but got %s", dtype_name(input.dtype));
    }
    generate(out1, [p](uint64_t index) { return uniform(index) < p ? 0.0 : 1.0; });
    return pointwise(ctx, drop_op, {input, out1}, out0, {real_scalar(p < 1 ? 1 / (1 - p) : 0)});
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(rand_out)
PENLIGHT_DEFINE_KERNEL(randn_out)
PENLIGHT_DEFINE_KERNEL(native_dropout_out)
