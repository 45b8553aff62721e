// Numbers read from tensors, and views that share a tensor's memory.
#include <cstring>

#include "dtype.h"
#include "kernel.h"

namespace penlight::kernels {

static void set_integer(Value& out, int64_t integer) {
    out.tag = PENLIGHT_INT;
    out.as.integer = integer;
}

static Status sym_size_int(Context& ctx, const Tensor& self, int64_t dim, Value& out) {
    int64_t d = dim < 0 ? dim + self.rank : dim;
    if (d < 0 || d >= self.rank)
        return ctx.fail(
            "expected a dimension of a tensor of rank %d but got %lld; export the model "
            "again",
            self.rank, static_cast<long long>(dim));
    set_integer(out, self.sizes[d]);
    return Status::ok;
}

static Status sym_numel(Context&, const Tensor& self, Value& out) {
    set_integer(out, self.numel());
    return Status::ok;
}

// The only element of a tensor, as a number of the tensor's kind.
static Status _local_scalar_dense(Context& ctx, const Tensor& self, Value& out) {
    if (self.numel() != 1)
        return ctx.fail(
            "expected a tensor of 1 element but got %lld; check the shapes of the inputs",
            static_cast<long long>(self.numel()));
    visit_dtype(self.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        const T value = *self.ptr<T>();
        if constexpr (std::is_same_v<T, Bool>) {
            out.tag = PENLIGHT_BOOLEAN;
            out.as.boolean = value.bits != 0;
        } else if constexpr (std::is_integral_v<T>) {
            set_integer(out, static_cast<int64_t>(value));
        } else {
            out.tag = PENLIGHT_REAL;
            out.as.real = convert<double>(value);
        }
    });
    return Status::ok;
}

// out is self with another shape and the same memory; one size may be -1, to be worked out.
static Status et_view(Context& ctx, const Tensor& self, IntList size, Tensor& out) {
    int64_t sizes[PENLIGHT_MAX_RANK], known = 1, numel = self.numel();
    int32_t rank = static_cast<int32_t>(size.size()), inferred = -1;
    if (size.size() > PENLIGHT_MAX_RANK || rank != out.rank)
        return ctx.fail("expected %d sizes, as the result has, but got %u; export the model again",
                        out.rank, size.size());
    if (!self.contiguous())
        return ctx.fail(
            "expected a contiguous tensor but got one of another dim_order; export the "
            "model again");
    for (int32_t d = 0; d < rank; d++) {
        sizes[d] = size[static_cast<uint32_t>(d)];
        bool infer = sizes[d] == -1 && inferred < 0;
        if (infer) inferred = d;
        if (!infer && (sizes[d] < 0 || __builtin_mul_overflow(known, sizes[d], &known)))
            return ctx.fail(
                "expected a size of at least 0, or -1 once, but got %lld; check the "
                "shapes of the inputs",
                static_cast<long long>(sizes[d]));
    }
    if (inferred >= 0) sizes[inferred] = known > 0 && numel % known == 0 ? numel / known : 0;
    if (inferred >= 0 ? known * sizes[inferred] != numel : known != numel)
        return ctx.fail(
            "expected a shape of %lld elements but got another number; check the shapes "
            "of the inputs",
            static_cast<long long>(numel));
    if (out.dtype != self.dtype)
        return ctx.fail("expected a result of %s but got %s; export the model again",
                        dtype_name(self.dtype), dtype_name(out.dtype));
    for (int32_t d = 0; d < rank; d++)
        if (out.dim_order[d] != d)
            return ctx.fail(
                "expected a contiguous result but got another dim_order; export the "
                "model again");
    out.data = self.data;
    out.capacity =
        self.is_constant ? static_cast<size_t>(numel) * item_size(self.dtype) : self.capacity;
    out.is_constant = self.is_constant;
    return resize(ctx, out, rank, sizes);
}

// copy_to[index] = copy_from, where copy_to grows to index + 1 rows: how a loop stacks results.
static Status et_copy_index(Context& ctx, Tensor& copy_to, const Tensor& copy_from, int64_t index) {
    if (copy_to.dtype != copy_from.dtype || copy_to.rank != copy_from.rank + 1)
        return ctx.fail(
            "expected a stack of the tensors it holds but got %s of rank %d for %s of "
            "rank %d; export the model again",
            dtype_name(copy_to.dtype), copy_to.rank, dtype_name(copy_from.dtype), copy_from.rank);
    if (index < 0 || index == INT64_MAX)
        return ctx.fail("expected an index of at least 0 but got %lld; export the model again",
                        static_cast<long long>(index));
    if (!copy_to.contiguous() || !copy_from.contiguous())
        return ctx.fail(
            "expected contiguous tensors but got another dim_order; export the model "
            "again");
    int64_t sizes[PENLIGHT_MAX_RANK];
    sizes[0] = index + 1;
    std::memcpy(sizes + 1, copy_from.sizes, static_cast<size_t>(copy_from.rank) * sizeof *sizes);
    if (copy_to.dynamism == PENLIGHT_STATIC && sizes[0] <= copy_to.sizes[0])
        sizes[0] = copy_to.sizes[0];
    PENLIGHT_TRY(resize(ctx, copy_to, copy_to.rank, sizes));
    size_t bytes = static_cast<size_t>(copy_from.numel()) * item_size(copy_from.dtype);
    if (bytes == 0) return Status::ok;
    std::memmove(copy_to.ptr<std::byte>() + static_cast<size_t>(index) * bytes, copy_from.data,
                 bytes);
    return Status::ok;
}

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(_local_scalar_dense)
PENLIGHT_DEFINE_KERNEL(et_copy_index)
PENLIGHT_DEFINE_KERNEL(et_view)
PENLIGHT_DEFINE_KERNEL(sym_numel)
PENLIGHT_DEFINE_KERNEL(sym_size_int)
