// Reductions over any dimensions, dtypes and strides: one driver over functions of a run.
//
//   // max over dims, with NaN winning
//   struct Maximum { ... see extremum.cpp ... };
//   return reduce(ctx, reducer<Maximum>(), self, dims, keepdim, Compute::f32, {&out});
//
// A reducer folds elements into a state. The driver hands it either a run of elements of one
// result, or, where the reduced elements of one result lie far apart but those of neighbouring
// results do not, one element for each of many states: memory is read in order both ways.
#pragma once

#include "elementwise.h"

namespace penlight::kernels {

struct Reducer {
    size_t state_size;  // at most 32 bytes
    void (*begin)(void* states, int64_t count);
    // Fold x[0..count), whose first element has the given index in the reduction, into one state.
    void (*fold_run)(void* state, const void* x, int64_t count, int64_t index);
    // Fold x[i] into states[i].
    void (*fold_lanes)(void* states, const void* x, int64_t count, int64_t index);
    // values[i], of the compute type, and indices[i] from states[i]. n: elements reduced.
    void (*finish)(const void* states, int64_t count, int64_t n, const Scalar& parameter,
                   void* values, int64_t* indices);
};

inline constexpr int64_t max_lanes = 64;

// The dims of a reduction, as a mask of bits. None given, or an empty list: all of them.
Status reduced_dims(Context& ctx, const Tensor& self, const std::optional<IntList>& dims,
                    uint32_t* mask);
inline uint32_t all_dims(const Tensor& self) {
    return static_cast<uint32_t>((uint64_t{1} << self.rank) - 1);
}
// One dim; every one if there is none.
Status reduced_dim(Context& ctx, const Tensor& self, std::optional<int64_t> dim, uint32_t* mask);

struct ReductionArguments {
    const Tensor& self;
    uint32_t dims;
    bool keepdim;
    Compute compute;  // what elements are read as
    Tensor* values;   // either may be null
    Tensor* indices = nullptr;
    bool needs_elements = false;  // fails over no elements: a maximum has no neutral element
    Scalar parameter{};
};
// Gives the outputs their shapes and elements.
Status reduce(Context& ctx, const Reducer& reducer, const ReductionArguments& arguments);

// S: struct with C (the compute type), begin(), fold(C, int64_t index), value(n, parameter) and,
// optionally, index().
template <class S> struct ReducerFunctions {
    using C = typename S::Element;
    static void begin(void* states, int64_t count) {
        for (int64_t i = 0; i < count; i++) static_cast<S*>(states)[i] = S{};
    }
    static void fold_run(void* state, const void* x, int64_t count, int64_t index) {
        S s = *static_cast<S*>(state);
        const C* values = static_cast<const C*>(x);
        if constexpr (requires { s.fold_run(values, count); }) {
            s.fold_run(values, count);
        } else {
            for (int64_t i = 0; i < count; i++) s.fold(values[i], index + i);
        }
        *static_cast<S*>(state) = s;
    }
    static void fold_lanes(void* states, const void* x, int64_t count, int64_t index) {
        S* s = static_cast<S*>(states);
        const C* values = static_cast<const C*>(x);
        for (int64_t i = 0; i < count; i++) s[i].fold(values[i], index);
    }
    static void finish(const void* states, int64_t count, int64_t n, const Scalar& parameter,
                       void* values, int64_t* indices) {
        const S* s = static_cast<const S*>(states);
        for (int64_t i = 0; i < count; i++) {
            static_cast<C*>(values)[i] = s[i].value(n, parameter);
            if constexpr (requires { s[i].index(); }) indices[i] = s[i].index();
        }
    }
};
template <class S> constexpr Reducer reducer() {
    static_assert(sizeof(S) <= 32);
    using F = ReducerFunctions<S>;
    return {sizeof(S), &F::begin, &F::fold_run, &F::fold_lanes, &F::finish};
}
// The reducer of the compute type.
template <template <class> class S> Reducer reducer_for(Compute c) {
    return c == Compute::f32   ? reducer<S<float>>()
           : c == Compute::f64 ? reducer<S<double>>()
                               : reducer<S<int64_t>>();
}

}  // namespace penlight::kernels
