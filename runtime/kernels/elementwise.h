// Pointwise kernels: one driver for every dtype, broadcast and stride, over functions of a block.
//
//   // y = relu(x): defined for float, double and int64 blocks from one expression.
//   static constexpr PointwiseOp relu = unary<[](auto x) { return x < 0 ? decltype(x)(0) : x; }>();
//   static Status relu_out(Context& ctx, const Tensor& self, Tensor& out) {
//       return pointwise(ctx, relu, {self}, out);
//   }
//   PENLIGHT_DEFINE_KERNEL(relu_out)
//
// The driver finds the common dtype by PyTorch's rules, gives `out` the broadcast shape, orders
// the dimensions by the strides of `out`, merges those that lie together, and hands runs to the
// operator. Where an operand already has the compute type and lies contiguously, the operator
// reads and writes it in place; every other operand passes through a buffer of 512 elements.
#pragma once

#include <atomic>
#include <initializer_list>

#include "dtype.h"
#include "movement.h"  // also gives kernels ShapeText, wrap_dim and expect_dtype

namespace penlight::kernels {

inline constexpr int max_inputs = 3;
inline constexpr int max_parameters = 4;

// One run of a pointwise operator. All inputs and the output have the compute type.
struct Block {
    void* out;                   // [count], may be the same memory as an input
    const void* in[max_inputs];  // [count] each
    int64_t count;
    const Scalar* parameters;  // [max_parameters]
    std::atomic<bool>* fault;  // set by an operator which meets an integer division by zero
};
using BlockFunction = void (*)(const Block&);

// How the common dtype, in which an operator computes, follows from its inputs.
enum class Rule : uint8_t {
    promote,  // torch.result_type
    real,     // the same, but float32 where that is integral
    test,     // torch.result_type; the result is a truth value, which any dtype may hold
};

struct PointwiseOp {
    BlockFunction f32, f64, i64;  // null where PyTorch does not define the operator
    Rule rule;
    // A second operand that is a number or 0-d tensor is not rounded to a half-precision common
    // dtype before use: PyTorch's mul and div.
    bool exact_scalar = false;
    bool modular = false;  // right for uint64 although computed in int64
    bool accepts_bool = true;
    bool expensive = false;  // worth threads at a few thousand elements
};

// A tensor or a number.
struct Input {
    const Tensor* tensor;
    Scalar scalar;
    Input(const Tensor& t) : tensor(&t), scalar{} {}
    Input(const Scalar& s) : tensor(nullptr), scalar(s) {}
};
inline Scalar real_scalar(double value) { return {PENLIGHT_REAL, 0, value}; }
inline Scalar int_scalar(int64_t value) { return {PENLIGHT_INT, value, 0}; }

// torch.result_type of tensors and numbers (which count less than any tensor of their category);
// -1 where there is none.
int32_t result_type(std::initializer_list<Input> inputs);

// out[i] = op(inputs[i]...), with at most 3 inputs and 4 parameters.
Status pointwise(Context& ctx, const PointwiseOp& op, std::initializer_list<Input> inputs,
                 Tensor& out, std::initializer_list<Scalar> parameters = {});

// out[i] = self[i] as out's dtype, with self broadcast to the shape that out already has.
Status cast_into(Context& ctx, const Tensor& self, Tensor& out);
// out[i] = value, over the shape that out already has.
Status fill_with(Context& ctx, const Scalar& value, Tensor& out);

// ---- from an expression to blocks ----

template <class C> inline C scalar_as(const Scalar& s) {
    if constexpr (is_real<C>) return static_cast<C>(s.to_double());
    return s.kind == PENLIGHT_REAL ? real_to_int64(s.real) : s.integer;
}

// f(x..., p): p are the parameters as the compute type; f may leave p out.
template <class F, class C, class... X> inline C apply(const F& f, const C* p, X... x) {
    if constexpr (std::is_invocable_v<F, X..., const C*>) {
        return static_cast<C>(f(x..., p));
    } else {
        return static_cast<C>(f(x...));
    }
}

template <class C, auto F, int inputs> void block(const Block& b) {
    C p[max_parameters];
    for (int i = 0; i < max_parameters; i++) p[i] = scalar_as<C>(b.parameters[i]);
    C* y = static_cast<C*>(b.out);
    const C* x0 = static_cast<const C*>(b.in[0]);
    const int64_t n = b.count;
    if constexpr (inputs == 1) {
        PENLIGHT_INDEPENDENT
        for (int64_t i = 0; i < n; i++) y[i] = apply<decltype(F), C>(F, p, x0[i]);
    } else if constexpr (inputs == 2) {
        const C* x1 = static_cast<const C*>(b.in[1]);
        PENLIGHT_INDEPENDENT
        for (int64_t i = 0; i < n; i++) y[i] = apply<decltype(F), C>(F, p, x0[i], x1[i]);
    } else {
        const C* x1 = static_cast<const C*>(b.in[1]);
        const C* x2 = static_cast<const C*>(b.in[2]);
        PENLIGHT_INDEPENDENT
        for (int64_t i = 0; i < n; i++) y[i] = apply<decltype(F), C>(F, p, x0[i], x1[i], x2[i]);
    }
}

template <auto F, int inputs = 1> constexpr PointwiseOp generic(Rule rule = Rule::promote) {
    return {&block<float, F, inputs>, &block<double, F, inputs>, &block<int64_t, F, inputs>, rule};
}
template <auto F> constexpr PointwiseOp unary(Rule rule = Rule::promote) {
    return generic<F, 1>(rule);
}
template <auto F> constexpr PointwiseOp binary(Rule rule = Rule::promote) {
    return generic<F, 2>(rule);
}
// Real arithmetic only; integers become float32 first.
template <auto F, int inputs = 1> constexpr PointwiseOp real_only() {
    PointwiseOp op{&block<float, F, inputs>, &block<double, F, inputs>, nullptr, Rule::real};
    op.expensive = true;
    return op;
}
// Integers and bool only.
template <auto F, int inputs = 2> constexpr PointwiseOp integer_only() {
    PointwiseOp op{nullptr, nullptr, &block<int64_t, F, inputs>, Rule::promote};
    op.modular = true;
    return op;
}

// A kernel of one input and no parameters.
#define PENLIGHT_UNARY_KERNEL(NAME, OP)                                       \
    namespace penlight::kernels {                                             \
    static Status NAME##_out(Context& ctx, const Tensor& self, Tensor& out) { \
        return pointwise(ctx, OP, {self}, out);                               \
    }                                                                         \
    }                                                                         \
    PENLIGHT_DEFINE_KERNEL(NAME##_out)

// Two kernels, against a tensor and against a number, of one operator without parameters.
#define PENLIGHT_BINARY_KERNELS(NAME, OP)                                                          \
    namespace penlight::kernels {                                                                  \
    static Status NAME##_Tensor_out(Context& ctx, const Tensor& self, const Tensor& other,         \
                                    Tensor& out) {                                                 \
        return pointwise(ctx, OP, {self, other}, out);                                             \
    }                                                                                              \
    static Status NAME##_Scalar_out(Context& ctx, const Tensor& self, Scalar other, Tensor& out) { \
        return pointwise(ctx, OP, {self, other}, out);                                             \
    }                                                                                              \
    }                                                                                              \
    PENLIGHT_DEFINE_KERNEL(NAME##_Tensor_out)                                                      \
    PENLIGHT_DEFINE_KERNEL(NAME##_Scalar_out)

}  // namespace penlight::kernels
