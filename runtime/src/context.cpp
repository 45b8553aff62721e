// What kernels may ask of the runtime: shapes, dtypes, threads.
#include <cstring>

#include "error.h"
#include "memory.h"
#include "method.h"

namespace penlight {

namespace {

struct DtypeFacts {
    uint8_t size;
    const char* name;
};

constexpr DtypeFacts facts_of(int32_t dtype) {
    switch (dtype) {
        case PENLIGHT_UINT8: return {1, "uint8"};
        case PENLIGHT_INT8: return {1, "int8"};
        case PENLIGHT_INT16: return {2, "int16"};
        case PENLIGHT_INT32: return {4, "int32"};
        case PENLIGHT_INT64: return {8, "int64"};
        case PENLIGHT_HALF: return {2, "float16"};
        case PENLIGHT_FLOAT: return {4, "float32"};
        case PENLIGHT_DOUBLE: return {8, "float64"};
        case PENLIGHT_BOOL: return {1, "bool"};
        case PENLIGHT_BFLOAT16: return {2, "bfloat16"};
        case PENLIGHT_UINT16: return {2, "uint16"};
        case PENLIGHT_UINT32: return {4, "uint32"};
        case PENLIGHT_UINT64: return {8, "uint64"};
        default: return {0, "unknown"};
    }
}

}  // namespace

size_t item_size(int32_t dtype) { return facts_of(dtype).size; }
const char* dtype_name(int32_t dtype) { return facts_of(dtype).name; }

Status resize(Context& ctx, Tensor& out, int32_t rank, const int64_t* sizes) {
    if (rank != out.rank)
        return ctx.fail("expected a result of rank %d but got %d; export the model again", out.rank,
                        rank);
    bool same = true, empty = false;
    for (int32_t d = 0; d < rank; d++) same = same && sizes[d] == out.sizes[d];
    if (same) return Status::ok;  // it fitted before
    int64_t nbytes = static_cast<int64_t>(item_size(out.dtype));
    for (int32_t d = 0; d < rank; d++) {
        int64_t size = sizes[d];
        empty = empty || size == 0;
        // A size of 0 counts as 1, so that no product of the other sizes overflows either.
        if (size < 0 || !checked_mul(nbytes, size > 1 ? size : 1, &nbytes))
            return ctx.fail(
                "expected a size of at least 0 that fits in memory but got %lld at "
                "dimension %d; check the shapes of the inputs",
                static_cast<long long>(size), d);
    }
    for (int32_t d = 0; d < rank && out.dynamism == PENLIGHT_STATIC; d++)
        if (sizes[d] != out.sizes[d])
            return ctx.fail(
                "expected a result of size %lld at dimension %d but got %lld; the shape "
                "is static, so export with dynamic_shapes to let it vary",
                static_cast<long long>(out.sizes[d]), d, static_cast<long long>(sizes[d]));
    if (!empty && static_cast<uint64_t>(nbytes) > out.capacity)
        return ctx.fail(
            "expected a result of at most %zu bytes but got %lld; export with larger "
            "bounds in dynamic_shapes",
            out.capacity, static_cast<long long>(nbytes));
    std::memmove(out.sizes, sizes, static_cast<size_t>(rank) * sizeof *sizes);
    set_strides(out);
    return Status::ok;
}

}  // namespace penlight

penlight_status penlight_resize(penlight_context* context, penlight_tensor* tensor, int32_t rank,
                                const int64_t* sizes) {
    auto& out = *static_cast<penlight::Tensor*>(tensor);
    return static_cast<penlight_status>(penlight::resize(*context, out, rank, sizes));
}
