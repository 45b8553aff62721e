// What the kernels share that move elements without computing on them.
//
//   View v = view_of(self);              // permute, slice, expand ...: change sizes, strides, data
//   std::swap(v.sizes[0], v.sizes[1]);
//   std::swap(v.strides[0], v.strides[1]);
//   return copy_view(ctx, v, out);       // resizes out, then copies
//
// Elements are moved by their size in bytes, so one path serves every dtype.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "dtype.h"

namespace penlight::kernels {

inline constexpr int32_t max_rank = PENLIGHT_MAX_RANK;

// Some elements of a tensor: strides are in elements, and may be zero or negative.
struct View {
    const std::byte* data;
    size_t item;  // bytes of an element
    int32_t dtype;
    int32_t rank;
    int64_t sizes[max_rank];
    int64_t strides[max_rank];

    void move(int64_t elements) { data += elements * static_cast<int64_t>(item); }
    void erase(int32_t dim);
    void insert(int32_t dim, int64_t size, int64_t stride);
};

View view_of(const Tensor& t);
// The view as a tensor, good as long as the view.
Tensor tensor_of(View& view);

// Counts through the indices of a shape in row-major order and keeps N offsets (in elements) in
// step with it.
template <int N> struct Odometer {
    int32_t rank;
    const int64_t* sizes;
    const int64_t* strides[N];
    int64_t index[max_rank];
    int64_t offset[N];

    void seek(int64_t linear) {
        for (int i = 0; i < N; i++) offset[i] = 0;
        for (int32_t d = rank - 1; d >= 0; d--) {
            index[d] = linear % sizes[d];
            linear /= sizes[d];
            for (int i = 0; i < N; i++) offset[i] += index[d] * strides[i][d];
        }
    }
    void next() {
        for (int32_t d = rank - 1; d >= 0; d--) {
            for (int i = 0; i < N; i++) offset[i] += strides[i][d];
            if (++index[d] < sizes[d]) return;
            for (int i = 0; i < N; i++) offset[i] -= sizes[d] * strides[i][d];
            index[d] = 0;
        }
    }
};

// Unsigned words that may alias anything, to move elements by their size.
struct Word8 {
    using type [[gnu::may_alias]] = uint8_t;
};
struct Word16 {
    using type [[gnu::may_alias]] = uint16_t;
};
struct Word32 {
    using type [[gnu::may_alias]] = uint32_t;
};
struct Word64 {
    using type [[gnu::may_alias]] = uint64_t;
};

// body(Word8{}), ... by the bytes of an element: 1, 2, 4 or 8.
template <class F> void with_word(size_t item, const F& body) {
    switch (item) {
        case 1: return body(Word8{});
        case 2: return body(Word16{});
        case 4: return body(Word32{});
        default: return body(Word64{});
    }
}

// to[i . to_strides] = from[i . from_strides] for every index i of the shape; threaded and tiled.
// The destination must not overlap itself or the source.
void copy_strided(Context& ctx, size_t item, int32_t rank, const int64_t* sizes, std::byte* to,
                  const int64_t* to_strides, const std::byte* from, const int64_t* from_strides);

// to's elements are given from's, both taken in row-major order; the shapes may differ.
void copy_in_order(Context& ctx, const View& from, const Tensor& to);

// Gives out the view's shape and elements; refuses another dtype.
Status copy_view(Context& ctx, const View& from, Tensor& out);

// Writes `from` over the part of a tensor that `region` (a view of that tensor) describes.
void write_region(Context& ctx, const View& from, const View& region);

// The same, after a check that `from` has the region's dtype and shape.
Status write_checked(Context& ctx, const Tensor& from, const View& region);

// Gives out self's shape and elements, unless it is the same memory already.
Status copy_same_shape(Context& ctx, const Tensor& self, Tensor& out);

// dim in [-rank, rank) to [0, rank); a rank of 0 counts as 1.
Status wrap_dim(Context& ctx, int64_t dim, int32_t rank, int32_t* wrapped);
// index in [-size, size) to [0, size).
Status wrap_index(Context& ctx, int64_t index, int64_t size, int64_t* wrapped);
// A list of dims to a mask of bits; refuses a dim named twice.
Status wrap_dims(Context& ctx, const IntList& dims, int32_t rank, uint32_t* mask);

// The bounds that Python's slicing gives start:end:step on a dimension of this size.
struct Slice {
    int64_t start, length, step;
};
Status resolve_slice(Context& ctx, int64_t size, std::optional<int64_t> start,
                     std::optional<int64_t> end, int64_t step, Slice* slice);

Status expect_dtype(Context& ctx, const char* name, const Tensor& t, int32_t dtype);
Status expect_index_dtype(Context& ctx, const char* name, const Tensor& t);
Status expect_rank(Context& ctx, const char* name, const Tensor& t, int32_t low, int32_t high);
// This operator has only a path for row-major memory.
Status expect_contiguous(Context& ctx, const char* name, const Tensor& t);

// Element i of an int32 or int64 tensor's memory.
inline int64_t load_index(const Tensor& t, int64_t i) {
    return t.dtype == PENLIGHT_INT64 ? t.ptr<int64_t>()[i] : t.ptr<int32_t>()[i];
}

// Every element of an index tensor lies in [-size, size) (or [0, size) unless `negative`).
Status expect_indices(Context& ctx, const char* name, const Tensor& index, int64_t size,
                      bool negative);

// The number as an element of dtype, written to at most 8 bytes.
void store_scalar(const Scalar& value, int32_t dtype, std::byte* element);

// Copies one run of bytes, quickly also when it is a single element.
inline void copy_run(std::byte* to, const std::byte* from, size_t bytes) {
    if (bytes == 4) {
        std::memcpy(to, from, 4);
    } else if (bytes == 8) {
        std::memcpy(to, from, 8);
    } else {
        std::memcpy(to, from, bytes);
    }
}

// f(Type<T>{}) with T for a floating dtype. False, and no call, for any other.
template <class F> bool visit_floating(int32_t dtype, const F& f) {
    switch (dtype) {
        case PENLIGHT_FLOAT: return f(Type<float>{}), true;
        case PENLIGHT_DOUBLE: return f(Type<double>{}), true;
        case PENLIGHT_HALF: return f(Type<Half>{}), true;
        case PENLIGHT_BFLOAT16: return f(Type<BFloat16>{}), true;
        default: return false;
    }
}

// "[2, 3]" for messages.
struct ShapeText {
    char text[128];
    ShapeText(int32_t rank, const int64_t* sizes);
    explicit ShapeText(const Tensor& t) : ShapeText(t.rank, t.sizes) {}
};

// Iterations that are worth a thread when each touches `elements` elements.
inline int64_t grain_for(int64_t elements) {
    return elements >= 16384 ? 1 : 16384 / (elements < 1 ? 1 : elements);
}

}  // namespace penlight::kernels
