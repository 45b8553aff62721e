// What softmax and the normalisations share: rows of any floating dtype as blocks of numbers to
// compute on, and memory as [outer][size][inner] around one dimension.
#pragma once

#include "dtype.h"
#include "movement.h"

namespace penlight::kernels {

inline constexpr int64_t block_size = 256;

template <class C>
inline constexpr Compute compute_of = is_real<C> && sizeof(C) == 8 ? Compute::f64 : Compute::f32;

// Reads elements as C, `stride` apart from `base` on: in place where they are C already and lie
// together, else through a buffer.
template <class C> struct Source {
    const std::byte* data = nullptr;
    size_t item = 0;
    LoadFunction load = nullptr;
    bool same = false;  // elements are C
    int64_t base = 0, stride = 1;
    alignas(64) C buffer[block_size];

    explicit Source(const Tensor* t) {
        if (t == nullptr) return;
        data = t->ptr<std::byte>();
        item = item_size(t->dtype);
        load = load_function(compute_of<C>, t->dtype);
        same = t->dtype == compute_dtype(compute_of<C>);
    }
    // Elements [first, first + count), count <= block_size.
    const C* get(int64_t first, int64_t count) {
        const std::byte* from = data + (base + first * stride) * static_cast<int64_t>(item);
        if (same && stride == 1) return reinterpret_cast<const C*>(from);
        load(from, stride, count, buffer);
        return buffer;
    }
};

// Writes elements given as C, as Source reads them.
template <class C> struct Sink {
    std::byte* data;
    size_t item;
    StoreFunction store;
    bool same;
    int64_t base = 0, stride = 1;
    alignas(64) C buffer[block_size];

    explicit Sink(Tensor& t)
        : data(t.ptr<std::byte>()),
          item(item_size(t.dtype)),
          store(store_function(compute_of<C>, t.dtype)),
          same(t.dtype == compute_dtype(compute_of<C>)) {}
    bool in_place() const { return same && stride == 1; }
    // Where to write elements from `first` on; then put() them.
    C* at(int64_t first) { return in_place() ? reinterpret_cast<C*>(data) + base + first : buffer; }
    void put(int64_t first, int64_t count) {
        if (in_place()) return;
        store(buffer, stride, count, data + (base + first * stride) * static_cast<int64_t>(item));
    }
};

// body(first, count) over [0, n) in blocks.
template <class F> inline void for_blocks(int64_t n, const F& body) {
    for (int64_t i = 0; i < n; i += block_size) body(i, n - i < block_size ? n - i : block_size);
}

// The sum of f(x[i]), in 16 lanes so that it can be vectorised.
template <class C, class F> inline C lane_sum(const C* x, int64_t n, const F& f) {
    C lane[16] = {};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (int k = 0; k < 16; k++) lane[k] += f(x[i + k]);
    }
    for (; i < n; i++) lane[i & 15] += f(x[i]);
    for (int half = 8; half > 0; half /= 2) {
        for (int k = 0; k < half; k++) lane[k] += lane[k + half];
    }
    return lane[0];
}

template <class C> struct Moments {
    C mean, variance;  // biased: divided by n
};

// Of elements [first, first + n): the mean, then the mean square distance from it.
template <class C> inline Moments<C> moments(Source<C>& x, int64_t first, int64_t n) {
    double sum = 0, squares = 0;
    for_blocks(n, [&](int64_t i, int64_t count) {
        sum += lane_sum(x.get(first + i, count), count, [](C v) { return v; });
    });
    const C mean = static_cast<C>(sum / static_cast<double>(n));
    for_blocks(n, [&](int64_t i, int64_t count) {
        squares += lane_sum(x.get(first + i, count), count,
                            [mean](C v) { return (v - mean) * (v - mean); });
    });
    return {mean, static_cast<C>(squares / static_cast<double>(n))};
}

// f(C{}) with the type that a floating dtype is computed in; fails for any other dtype.
template <class F> inline Status with_real(Context& ctx, const Tensor& t, const F& f) {
    if (!is_floating(t.dtype)) {
        return ctx.fail("expected a floating dtype but got %s", dtype_name(t.dtype));
    }
    return t.dtype == PENLIGHT_DOUBLE ? f(double{}) : f(float{});
}

// Element i of a floating tensor's memory, as a double; and back.
double real_at(const Tensor& t, int64_t i);
void set_real(Tensor& t, int64_t i, double value);

// A floating tensor of `count` contiguous elements (or null).
Status expect_vector(Context& ctx, const char* name, const Tensor* t, int64_t count);

// Memory around one dimension: [outer][size][inner], the same in self and out.
struct Axis {
    int64_t outer, size, inner;
};
// Any dim order will do, but self and out must share it.
bool same_layout(const Tensor& self, const Tensor& out);
Status split_axis(Context& ctx, const Tensor& self, const Tensor& out, int32_t dim, Axis* axis);

}  // namespace penlight::kernels
