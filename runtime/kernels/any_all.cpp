// any and all: whether some, or every, element is true (not 0; NaN is true).
#include "reduction.h"

namespace penlight::kernels {

template <class C> struct Any {
    using Element = C;
    bool found = false;
    void fold(C x, int64_t) { found |= x != 0; }
    C value(int64_t, const Scalar&) const { return found ? 1 : 0; }
};
template <class C> struct All {
    using Element = C;
    bool holds = true;
    void fold(C x, int64_t) { holds &= x != 0; }
    C value(int64_t, const Scalar&) const { return holds ? 1 : 0; }
};

template <template <class> class S>
static Status test(Context& ctx, const Tensor& self, uint32_t dims, bool keepdim, Tensor& out) {
    const Compute c = compute_type(self.dtype);
    return reduce(ctx, reducer_for<S>(c), {self, dims, keepdim, c, &out});
}

#define PENLIGHT_TEST_KERNELS(NAME, STATE)                                                      \
    static Status NAME##_all_out(Context& ctx, const Tensor& self, Tensor& out) {               \
        return test<STATE>(ctx, self, all_dims(self), false, out);                              \
    }                                                                                           \
    static Status NAME##_out(Context& ctx, const Tensor& self, int64_t dim, bool keepdim,       \
                             Tensor& out) {                                                     \
        uint32_t dims;                                                                          \
        PENLIGHT_TRY(reduced_dim(ctx, self, dim, &dims));                                       \
        return test<STATE>(ctx, self, dims, keepdim, out);                                      \
    }                                                                                           \
    static Status NAME##_dims_out(Context& ctx, const Tensor& self, std::optional<IntList> dim, \
                                  bool keepdim, Tensor& out) {                                  \
        uint32_t dims = 0; /* an empty list reduces nothing here */                             \
        if (!dim.has_value() || dim->size() > 0) {                                              \
            PENLIGHT_TRY(reduced_dims(ctx, self, dim, &dims));                                  \
        }                                                                                       \
        return test<STATE>(ctx, self, dims, keepdim, out);                                      \
    }

PENLIGHT_TEST_KERNELS(any, Any)
PENLIGHT_TEST_KERNELS(all, All)

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(any_all_out)
PENLIGHT_DEFINE_KERNEL(any_out)
PENLIGHT_DEFINE_KERNEL(any_dims_out)
PENLIGHT_DEFINE_KERNEL(all_all_out)
PENLIGHT_DEFINE_KERNEL(all_out)
PENLIGHT_DEFINE_KERNEL(all_dims_out)
