// scatter, scatter_add and scatter_reduce. Elements are visited in order in one thread: several
// may fall on one place, and then the last one wins, or all are summed in a fixed order.
#include "gather.h"

namespace penlight::kernels {

enum class Reduce { assign, add, multiply, mean, amax, amin };

static Status parse_reduce(Context& ctx, std::string_view name, Reduce* reduce) {
    struct Row {
        std::string_view name;
        Reduce reduce;
    };
    constexpr Row rows[] = {{"add", Reduce::add},   {"multiply", Reduce::multiply},
                            {"sum", Reduce::add},   {"prod", Reduce::multiply},
                            {"mean", Reduce::mean}, {"amax", Reduce::amax},
                            {"amin", Reduce::amin}};
    for (const Row& row : rows) {
        if (row.name == name) {
            *reduce = row.reduce;
            return Status::ok;
        }
    }
    return ctx.fail("expected reduce add, multiply, sum, prod, mean, amax or amin but got \"%.*s\"",
                    static_cast<int>(name.size() < 40 ? name.size() : 40), name.data());
}

// One step of a reduction in T's arithmetic type.
template <class T> static T combine(Reduce reduce, T a, T b) {
    using C = Arithmetic<T>;
    const C x = convert<C>(a), y = convert<C>(b);
    switch (reduce) {
        case Reduce::multiply: return convert<T>(wrapping_product(x, y));
        case Reduce::amax: return y > x || y != y ? b : a;
        case Reduce::amin: return y < x || y != y ? b : a;
        default: return sum_of(a, b);
    }
}

// What a reduction starts from where self is left out.
template <class T> static T identity(Reduce reduce) {
    using C = Arithmetic<T>;
    using Limits = std::numeric_limits<
        std::conditional_t<is_real<C>, C, std::conditional_t<std::is_integral_v<T>, T, uint8_t>>>;
    if (reduce == Reduce::multiply) return convert<T>(C{1});
    if constexpr (is_real<C>) {
        if (reduce == Reduce::amax) return convert<T>(-Limits::infinity());
        if (reduce == Reduce::amin) return convert<T>(Limits::infinity());
    } else {
        if (reduce == Reduce::amax) return convert<T>(static_cast<C>(Limits::lowest()));
        if (reduce == Reduce::amin) return convert<T>(static_cast<C>(Limits::max()));
    }
    return convert<T>(C{0});
}

// out = self with src scattered over it. src may be a single element (with no strides).
static Status scatter(Context& ctx, const Tensor& self, int64_t dim, const Tensor& index,
                      const Tensor& src, Reduce reduce, Tensor& out) {
    PENLIGHT_TRY(expect_dtype(ctx, "src", src, self.dtype));
    PENLIGHT_TRY(copy_same_shape(ctx, self, out));
    GatherLoop loop;
    PENLIGHT_TRY(loop.prepare(ctx, out, dim, index));
    PENLIGHT_TRY(loop.expect_covered(ctx, "src", src));
    if (reduce == Reduce::assign) {
        with_word(item_size(self.dtype), [&](auto tag) {
            using Word = typename decltype(tag)::type;
            Word* to = out.ptr<Word>();
            const Word* from = src.ptr<Word>();
            loop.run(ctx, src, false, [=](int64_t at, int64_t here) { to[at] = from[here]; });
        });
        return Status::ok;
    }
    visit_dtype(self.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        T* to = out.ptr<T>();
        const T* from = src.ptr<T>();
        loop.run(ctx, src, false, [=](int64_t at, int64_t here) {
            to[at] = combine<T>(reduce, to[at], from[here]);
        });
    });
    return Status::ok;
}

static Status scatter_value(Context& ctx, const Tensor& self, int64_t dim, const Tensor& index,
                            const Scalar& value, Reduce reduce, Tensor& out) {
    alignas(8) std::byte element[8] = {};
    store_scalar(value, self.dtype, element);
    View repeated = view_of(index);  // the number wherever index has an element
    repeated.data = element;
    repeated.dtype = self.dtype;
    for (int32_t d = 0; d < index.rank; d++) repeated.strides[d] = 0;
    return scatter(ctx, self, dim, index, tensor_of(repeated), reduce, out);
}

static Status scatter_src_out(Context& ctx, const Tensor& self, int64_t dim, const Tensor& index,
                              const Tensor& src, Tensor& out) {
    return scatter(ctx, self, dim, index, src, Reduce::assign, out);
}

static Status scatter_value_out(Context& ctx, const Tensor& self, int64_t dim, const Tensor& index,
                                Scalar value, Tensor& out) {
    return scatter_value(ctx, self, dim, index, value, Reduce::assign, out);
}

static Status scatter_add_out(Context& ctx, const Tensor& self, int64_t dim, const Tensor& index,
                              const Tensor& src, Tensor& out) {
    return scatter(ctx, self, dim, index, src, Reduce::add, out);
}

static Status scatter_src_reduce_out(Context& ctx, const Tensor& self, int64_t dim,
                                     const Tensor& index, const Tensor& src,
                                     std::string_view reduce, Tensor& out) {
    Reduce r;
    PENLIGHT_TRY(parse_reduce(ctx, reduce, &r));
    return scatter(ctx, self, dim, index, src, r, out);
}

static Status scatter_value_reduce_out(Context& ctx, const Tensor& self, int64_t dim,
                                       const Tensor& index, Scalar value, std::string_view reduce,
                                       Tensor& out) {
    Reduce r;
    PENLIGHT_TRY(parse_reduce(ctx, reduce, &r));
    return scatter_value(ctx, self, dim, index, value, r, out);
}

// out /= the number of elements that were summed into each place; integers round down.
static void divide_by_counts(Context& ctx, const GatherLoop& loop, const Tensor& src,
                             bool include_self, Tensor& out) {
    int64_t* counts = reinterpret_cast<int64_t*>(ctx.scratch());  // by place in out's memory
    const int64_t n = out.numel();
    for (int64_t i = 0; i < n; i++) counts[i] = include_self ? 1 : 0;
    loop.run(ctx, src, false, [=](int64_t at, int64_t) { counts[at]++; });
    visit_dtype(out.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        using C = Arithmetic<T>;
        T* data = out.ptr<T>();
        for (int64_t i = 0; i < n; i++) {
            if (counts[i] < 2) continue;
            const C sum = convert<C>(data[i]), count = static_cast<C>(counts[i]);
            C mean = sum / count;
            if constexpr (!is_real<C>) {
                if (sum % count != 0 && sum < 0) mean -= 1;
            }
            data[i] = convert<T>(mean);
        }
    });
}

static Status scatter_reduce_out(Context& ctx, const Tensor& self, int64_t dim, const Tensor& index,
                                 const Tensor& src, std::string_view reduce, bool include_self,
                                 Tensor& out) {
    Reduce r;
    PENLIGHT_TRY(parse_reduce(ctx, reduce, &r));
    PENLIGHT_TRY(expect_dtype(ctx, "src", src, self.dtype));
    PENLIGHT_TRY(copy_same_shape(ctx, self, out));
    GatherLoop loop;
    PENLIGHT_TRY(loop.prepare(ctx, out, dim, index));
    PENLIGHT_TRY(loop.expect_covered(ctx, "src", src));
    visit_dtype(self.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        T* to = out.ptr<T>();
        const T* from = src.ptr<T>();
        const T start = identity<T>(r);
        if (!include_self) {
            loop.run(ctx, src, false, [=](int64_t at, int64_t) { to[at] = start; });
        }
        loop.run(ctx, src, false,
                 [=](int64_t at, int64_t here) { to[at] = combine<T>(r, to[at], from[here]); });
    });
    if (r == Reduce::mean && loop.count > 0) divide_by_counts(ctx, loop, src, include_self, out);
    return Status::ok;
}

static size_t scatter_reduce_scratch(uint32_t, const Tensor& self, int64_t, const Tensor&,
                                     const Tensor&, std::string_view reduce, bool, Tensor&) {
    size_t bytes;
    const size_t n = reduce == "mean" ? static_cast<size_t>(self.numel()) : 0;
    return __builtin_mul_overflow(n, sizeof(int64_t), &bytes) ? SIZE_MAX : bytes;
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(scatter_src_out)
PENLIGHT_DEFINE_KERNEL(scatter_value_out)
PENLIGHT_DEFINE_KERNEL(scatter_add_out)
PENLIGHT_DEFINE_KERNEL(scatter_src_reduce_out)
PENLIGHT_DEFINE_KERNEL(scatter_value_reduce_out)
PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(scatter_reduce_out, scatter_reduce_scratch)
