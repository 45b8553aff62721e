// The loop that gather and the scatters share: over every element of `index`.
#pragma once

#include "movement.h"

namespace penlight::kernels {

// The type T is computed in; integers wrap.
template <class T>
using Arithmetic =
    std::conditional_t<std::is_same_v<T, double>, double,
                       std::conditional_t<std::is_same_v<T, float> || std::is_same_v<T, Half> ||
                                              std::is_same_v<T, BFloat16>,
                                          float, int64_t>>;

template <class C> inline C wrapping_product(C a, C b) {
    if constexpr (is_real<C>)
        return a * b;
    else
        return static_cast<C>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

// a + b, rounded to T.
template <class T> inline T sum_of(T a, T b) {
    using C = Arithmetic<T>;
    const C x = convert<C>(a), y = convert<C>(b);
    if constexpr (is_real<C>)
        return convert<T>(x + y);
    else
        return convert<T>(static_cast<C>(static_cast<uint64_t>(x) + static_cast<uint64_t>(y)));
}

struct GatherLoop {
    int32_t dim;
    int64_t count, size, along;  // along: self's stride in dim
    View whole, positions;       // self (with stride 0 in dim) and index; 0-d ones as 1-d

    // Checks the shapes and every index.
    Status prepare(Context& ctx, const Tensor& self, int64_t dim, const Tensor& index);
    // t has an element for every one of index.
    Status expect_covered(Context& ctx, const char* name, const Tensor& t) const;

    // body(offset in self, offset in other) for every element of index.
    template <class F>
    void run(Context& ctx, const Tensor& other, bool threaded, const F& body) const {
        if (count == 0) return;
        View beside = view_of(other);
        if (beside.rank == 0) beside.insert(0, 1, 1);
        if (positions.dtype == PENLIGHT_INT64) {
            rows<int64_t>(ctx, beside, threaded, body);
        } else {
            rows<int32_t>(ctx, beside, threaded, body);
        }
    }

  private:
    template <class Index, class F>
    void rows(Context& ctx, const View& beside, bool threaded, const F& body) const {
        const int32_t last = positions.rank - 1;
        const int64_t columns = positions.sizes[last], total = count / columns;
        const Index* index = reinterpret_cast<const Index*>(positions.data);
        const int64_t index_step = positions.strides[last], beside_step = beside.strides[last];
        const int64_t self_step = whole.strides[last];
        auto part = [&](int64_t begin, int64_t end) {
            Odometer<3> at{
                last, positions.sizes, {positions.strides, whole.strides, beside.strides}, {}, {}};
            at.seek(begin);
            for (int64_t r = begin; r < end; r++, at.next()) {
                for (int64_t c = 0; c < columns; c++) {
                    const int64_t i = index[at.offset[0] + c * index_step];
                    body(at.offset[1] + c * self_step + i * along, at.offset[2] + c * beside_step);
                }
            }
        };
        if (threaded) {
            ctx.parallel_for(total, grain_for(columns), part);
        } else {
            part(0, total);
        }
    }
};

}  // namespace penlight::kernels
