// How a kernel is written: a plain function whose C++ parameter types are its signature.
//
//   // y[i] = max(x[i], 0)                                     (kernels/relu.cpp)
//   static Status relu_out(Context& ctx, const Tensor& x, Tensor& y) {
//       PENLIGHT_TRY(resize_like(ctx, y, x));
//       ...
//       return Status::ok;
//   }
//   PENLIGHT_DEFINE_KERNEL(relu_out)
//
// and one line in kernels/kernels.inc:  PENLIGHT_KERNEL("aten::relu.out", relu_out)
//
// The types of the parameters are checked against the file once, when a method is loaded, so a
// kernel may use its arguments unchecked; dtypes and shapes are the kernel's own to check, with
// ctx.fail("expected ... but got ..."). A kernel never allocates: it takes scratch memory from
// ctx.scratch(), whose size its scratch function gave at load from the largest shapes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "penlight/penlight.h"

namespace penlight {

enum class [[nodiscard]] Status : int {
    ok = PENLIGHT_OK,
    invalid_argument = PENLIGHT_INVALID_ARGUMENT,
    invalid_program = PENLIGHT_INVALID_PROGRAM,
    not_found = PENLIGHT_NOT_FOUND,
    unsupported = PENLIGHT_UNSUPPORTED,
    out_of_memory = PENLIGHT_OUT_OF_MEMORY,
    io = PENLIGHT_IO,
    execution_failed = PENLIGHT_EXECUTION_FAILED,
    cancelled = PENLIGHT_CANCELLED,
};

#define PENLIGHT_TRY(expression)                                                 \
    do {                                                                         \
        ::penlight::Status penlight_status_ = (expression);                      \
        if (penlight_status_ != ::penlight::Status::ok) return penlight_status_; \
    } while (0)

using Value = penlight_value;

// penlight_tensor with conveniences; no members of its own, so the two convert freely.
struct Tensor : penlight_tensor {
    int64_t size(int64_t d) const { return sizes[d]; }
    int64_t stride(int64_t d) const { return strides[d]; }
    int64_t numel() const {
        int64_t n = 1;
        for (int32_t d = 0; d < rank; d++) n *= sizes[d];
        return n;
    }
    // Elements lie in row-major order without gaps.
    bool contiguous() const {
        int64_t expected = 1;
        for (int32_t d = rank - 1; d >= 0; d--) {
            if (sizes[d] != 1 && strides[d] != expected) return false;
            expected *= sizes[d] > 1 ? sizes[d] : 1;
        }
        return true;
    }
    template <class T> T* ptr() { return static_cast<T*>(data); }
    template <class T> const T* ptr() const { return static_cast<const T*>(data); }
};
static_assert(sizeof(Tensor) == sizeof(penlight_tensor));

// A number whose kind (bool, int, real) decides type promotion, as in PyTorch.
struct Scalar {
    penlight_tag kind;  // PENLIGHT_INT, PENLIGHT_BOOLEAN or PENLIGHT_REAL
    int64_t integer;
    double real;
    double to_double() const { return kind == PENLIGHT_REAL ? real : static_cast<double>(integer); }
    int64_t to_int() const { return kind == PENLIGHT_REAL ? static_cast<int64_t>(real) : integer; }
};

// Lists are views of the method's values, read when the kernel runs.
struct IntList {
    Value* const* items;
    uint32_t count;
    uint32_t size() const { return count; }
    int64_t operator[](uint32_t i) const { return items[i]->as.integer; }
};
struct TensorList {
    Value* const* items;
    uint32_t count;
    uint32_t size() const { return count; }
    Tensor& operator[](uint32_t i) const { return *static_cast<Tensor*>(items[i]->as.tensor); }
};
struct OutTensorList : TensorList {};
struct OptionalTensorList {
    Value* const* items;
    uint32_t count;
    uint32_t size() const { return count; }
    Tensor* operator[](uint32_t i) const {
        return items[i]->tag == PENLIGHT_TENSOR ? static_cast<Tensor*>(items[i]->as.tensor)
                                                : nullptr;
    }
};
struct RealList {
    const double* items;
    uint32_t count;
    uint32_t size() const { return count; }
    double operator[](uint32_t i) const { return items[i]; }
};
struct BoolList {
    const uint8_t* items;
    uint32_t count;
    uint32_t size() const { return count; }
    bool operator[](uint32_t i) const { return items[i] != 0; }
};

class ThreadPool;
enum class Isa : uint8_t;  // kernels/simd/target.h

}  // namespace penlight

// What a kernel sees of the runtime while it runs; one per method, opaque in the C header.
struct penlight_context {
    penlight_runtime* runtime;
    penlight::ThreadPool* pool;
    uint32_t thread_count;     // fixed while the method runs, and what scratch was sized for
    std::byte* scratch_begin;  // aligned to 64
    size_t scratch_size;       // what the method's hungriest kernel asked for
    const char* where;         // the operator's name, for error messages
    penlight_error* error;     // never null while a kernel runs
    penlight::Isa isa;         // the instruction set chosen when the runtime was made
    bool prefetch_near;        // as the function of that name has it
    uint32_t depth;            // how many delegates the program is nested in

    // Record "[where] message" and return execution_failed.
    [[gnu::format(printf, 2, 3)]] penlight::Status fail(const char* format, ...);
    std::byte* scratch() const { return scratch_begin; }
    uint32_t threads() const { return thread_count; }
    // body(begin, end) over [0, count) in runs of at least grain, on the pool.
    template <class F> void parallel_for(int64_t count, int64_t grain, const F& body) {
        auto thunk = [](void* f, int64_t begin, int64_t end) {
            (*static_cast<const F*>(f))(begin, end);
        };
        penlight_parallel_for(this, count, grain, thunk, const_cast<F*>(&body));
    }
    // For bodies that take items from each other (kernels/slots.h): whether the calling thread is
    // to leave the rest to others, and how often one may be called.
    bool stint_over() const;
    int64_t visits() const;
};

namespace penlight {

using Context = ::penlight_context;

// Give `out` its shape; an error if it exceeds the bound (in bytes, out.capacity), if the rank
// differs, or if any size differs and the shape is static. Strides follow from its dim_order.
Status resize(Context& ctx, Tensor& out, int32_t rank, const int64_t* sizes);
inline Status resize_like(Context& ctx, Tensor& out, const Tensor& like) {
    return resize(ctx, out, like.rank, like.sizes);
}
size_t item_size(int32_t dtype);        // bytes; 0 for an unknown dtype
const char* dtype_name(int32_t dtype);  // "float32", ...; "unknown" otherwise

// One parameter's kind, as verified at load. `optional` also admits PENLIGHT_NONE.
enum class Kind : uint8_t {
    tensor,
    out_tensor,
    scalar,
    integer,
    real,
    boolean,
    string,
    int_list,
    real_list,
    bool_list,
    tensor_list,
    out_tensor_list,
    optional_tensor_list,
    symbol,  // writable int, bool or real: an output of executorch_prim arithmetic
};
struct Parameter {
    Kind kind;
    bool optional;
};

// How one C++ parameter type is read from a verified value.
template <class T> struct Unbox;
#define PENLIGHT_UNBOX(TYPE, KIND, OPTIONAL, EXPRESSION)                  \
    template <> struct Unbox<TYPE> {                                      \
        static constexpr Parameter parameter{Kind::KIND, OPTIONAL};       \
        static TYPE get([[maybe_unused]] Value& v) { return EXPRESSION; } \
    };
inline Scalar unbox_scalar(const Value& v) {
    if (v.tag == PENLIGHT_REAL) return {PENLIGHT_REAL, 0, v.as.real};
    if (v.tag == PENLIGHT_BOOLEAN) return {PENLIGHT_BOOLEAN, v.as.boolean ? 1 : 0, 0};
    return {PENLIGHT_INT, v.as.integer, 0};
}
inline double unbox_real(const Value& v) { return unbox_scalar(v).to_double(); }
inline bool is_none(const Value& v) { return v.tag == PENLIGHT_NONE; }

PENLIGHT_UNBOX(const Tensor&, tensor, false, *static_cast<Tensor*>(v.as.tensor))
PENLIGHT_UNBOX(Tensor&, out_tensor, false, *static_cast<Tensor*>(v.as.tensor))
PENLIGHT_UNBOX(const Tensor*, tensor, true,
               is_none(v) ? nullptr : static_cast<const Tensor*>(v.as.tensor))
PENLIGHT_UNBOX(Scalar, scalar, false, unbox_scalar(v))
PENLIGHT_UNBOX(std::optional<Scalar>, scalar, true,
               is_none(v) ? std::nullopt : std::optional(unbox_scalar(v)))
PENLIGHT_UNBOX(int64_t, integer, false, v.as.integer)
PENLIGHT_UNBOX(std::optional<int64_t>, integer, true,
               is_none(v) ? std::nullopt : std::optional(v.as.integer))
PENLIGHT_UNBOX(double, real, false, unbox_real(v))
PENLIGHT_UNBOX(std::optional<double>, real, true,
               is_none(v) ? std::nullopt : std::optional(unbox_real(v)))
PENLIGHT_UNBOX(bool, boolean, false, v.as.boolean)
PENLIGHT_UNBOX(std::optional<bool>, boolean, true,
               is_none(v) ? std::nullopt : std::optional(v.as.boolean))
PENLIGHT_UNBOX(std::string_view, string, false, std::string_view(v.as.string, v.count))
PENLIGHT_UNBOX(std::optional<std::string_view>, string, true,
               is_none(v) ? std::nullopt : std::optional(std::string_view(v.as.string, v.count)))
PENLIGHT_UNBOX(IntList, int_list, false, (IntList{v.as.values, v.count}))
PENLIGHT_UNBOX(std::optional<IntList>, int_list, true,
               is_none(v) ? std::nullopt : std::optional(IntList{v.as.values, v.count}))
PENLIGHT_UNBOX(RealList, real_list, false, (RealList{v.as.reals, v.count}))
PENLIGHT_UNBOX(std::optional<RealList>, real_list, true,
               is_none(v) ? std::nullopt : std::optional(RealList{v.as.reals, v.count}))
PENLIGHT_UNBOX(BoolList, bool_list, false, (BoolList{v.as.booleans, v.count}))
PENLIGHT_UNBOX(TensorList, tensor_list, false, (TensorList{v.as.values, v.count}))
PENLIGHT_UNBOX(OutTensorList, out_tensor_list, false, (OutTensorList{{v.as.values, v.count}}))
PENLIGHT_UNBOX(OptionalTensorList, optional_tensor_list, false,
               (OptionalTensorList{v.as.values, v.count}))
PENLIGHT_UNBOX(Value&, symbol, false, v)
#undef PENLIGHT_UNBOX

// A kernel as the table holds it: callable on values, with its parameters to verify against.
// The file passes one more value than there are parameters, the operator's result, which is the
// out argument once more; it is checked to exist and not used.
struct BoxedKernel {
    Status (*call)(Context&, Value* const* args);
    size_t (*scratch)(uint32_t threads,
                      Value* const* args);  // bytes; null: none. SIZE_MAX: overflow
    const Parameter* parameters;
    uint32_t parameter_count;
};

template <class... P>
inline constexpr std::array<Parameter, sizeof...(P)> parameters_of{Unbox<P>::parameter...};

template <auto Function, auto Scratch, class... P, size_t... I>
constexpr BoxedKernel box(Status (*)(Context&, P...), std::index_sequence<I...>) {
    BoxedKernel boxed{};
    boxed.call = [](Context& ctx, Value* const* args) -> Status {
        return Function(ctx, Unbox<P>::get(*args[I])...);
    };
    if constexpr (!std::is_null_pointer_v<decltype(Scratch)>) {
        boxed.scratch = [](uint32_t threads, Value* const* args) -> size_t {
            return Scratch(threads, Unbox<P>::get(*args[I])...);
        };
    }
    boxed.parameters = parameters_of<P...>.data();
    boxed.parameter_count = sizeof...(P);
    return boxed;
}
template <auto Function, auto Scratch, class... P>
constexpr BoxedKernel box(Status (*f)(Context&, P...)) {
    return box<Function, Scratch>(f, std::index_sequence_for<P...>{});
}

// One row of the table that is handed to load.
struct KernelEntry {
    const char* name;  // "aten::add.out"
    const BoxedKernel* kernel;
};
struct KernelTable {
    const KernelEntry* entries;
    size_t count;
};
KernelTable builtin_kernels();  // kernels/table.cpp, made from kernels/kernels.inc

}  // namespace penlight

// At the end of a kernel's file. A kernel that needs scratch memory names a function of the same
// parameters, preceded by the thread count, that returns how many bytes its largest call needs.
#define PENLIGHT_DEFINE_KERNEL(FUNCTION) PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(FUNCTION, nullptr)
#define PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(FUNCTION, SCRATCH)  \
    namespace penlight::kernels {                               \
    extern const ::penlight::BoxedKernel FUNCTION##_kernel;     \
    constinit const ::penlight::BoxedKernel FUNCTION##_kernel = \
        ::penlight::box<&FUNCTION, SCRATCH>(&FUNCTION);         \
    }
