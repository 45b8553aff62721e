#include "movement.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace penlight::kernels {

void View::erase(int32_t dim) {
    rank--;
    for (int32_t d = dim; d < rank; d++) {
        sizes[d] = sizes[d + 1];
        strides[d] = strides[d + 1];
    }
}

void View::insert(int32_t dim, int64_t size, int64_t stride) {
    for (int32_t d = rank; d > dim; d--) {
        sizes[d] = sizes[d - 1];
        strides[d] = strides[d - 1];
    }
    sizes[dim] = size;
    strides[dim] = stride;
    rank++;
}

View view_of(const Tensor& t) {
    View v;
    v.data = t.ptr<std::byte>();
    v.item = item_size(t.dtype);
    v.dtype = t.dtype;
    v.rank = t.rank;
    for (int32_t d = 0; d < t.rank; d++) {
        v.sizes[d] = t.sizes[d];
        v.strides[d] = t.strides[d];
    }
    return v;
}

Tensor tensor_of(View& view) {
    Tensor t{};
    t.data = const_cast<std::byte*>(view.data);
    t.sizes = view.sizes;
    t.strides = view.strides;
    t.max_sizes = view.sizes;
    t.dtype = view.dtype;
    t.rank = view.rank;
    return t;
}

namespace {

// The loop nest of a copy, outermost first: [outer...][rows][columns].
struct Nest {
    int32_t rank = 0;
    int64_t sizes[max_rank + 2];
    int64_t to[max_rank + 2];
    int64_t from[max_rank + 2];

    void push(int64_t size, int64_t to_stride, int64_t from_stride) {
        int32_t at = rank++;
        // Outermost is what is furthest apart in the destination, so that writes are in order.
        while (at > 0 && std::llabs(to[at - 1]) < std::llabs(to_stride)) {
            sizes[at] = sizes[at - 1];
            to[at] = to[at - 1];
            from[at] = from[at - 1];
            at--;
        }
        sizes[at] = size;
        to[at] = to_stride;
        from[at] = from_stride;
    }
    // Neighbouring loops that step through memory as one become one.
    void merge() {
        int32_t kept = 0;
        for (int32_t d = 1; d < rank; d++) {
            if (to[kept] == to[d] * sizes[d] && from[kept] == from[d] * sizes[d]) {
                sizes[kept] *= sizes[d];
            } else {
                kept++;
                sizes[kept] = sizes[d];
            }
            to[kept] = to[d];
            from[kept] = from[d];
        }
        if (rank > 0) rank = kept + 1;
    }
    // Puts the loop that reads adjacent elements next to the innermost, for tiling.
    void bring_unit_source_inward() {
        int32_t unit = rank - 2;
        if (from[rank - 1] != 1) {
            for (int32_t d = 0; d < rank - 1; d++) {
                if (from[d] == 1) unit = d;
            }
        }
        for (; unit < rank - 2; unit++) {
            std::swap(sizes[unit], sizes[unit + 1]);
            std::swap(to[unit], to[unit + 1]);
            std::swap(from[unit], from[unit + 1]);
        }
    }
};

struct Block {
    int64_t rows, columns;
    int64_t to_row, to_column, from_row, from_column;  // strides in elements
};

template <class Word> void copy_tiled(Word* to, const Word* from, const Block& b) {
    constexpr int64_t tile = 16;
    for (int64_t r0 = 0; r0 < b.rows; r0 += tile) {
        const int64_t r1 = r0 + tile < b.rows ? r0 + tile : b.rows;
        for (int64_t c0 = 0; c0 < b.columns; c0 += tile) {
            const int64_t c1 = c0 + tile < b.columns ? c0 + tile : b.columns;
            for (int64_t r = r0; r < r1; r++) {
                Word* row = to + r * b.to_row;
                const Word* source = from + r * b.from_row;
                for (int64_t c = c0; c < c1; c++) row[c * b.to_column] = source[c * b.from_column];
            }
        }
    }
}

template <class Word> void copy_block(Word* to, const Word* from, const Block& b) {
    if (b.to_column != 1 || (b.from_column != 1 && b.from_row == 1 && b.rows > 1)) {
        copy_tiled(to, from, b);
        return;
    }
    for (int64_t r = 0; r < b.rows; r++) {
        Word* row = to + r * b.to_row;
        const Word* source = from + r * b.from_row;
        if (b.from_column == 1) {
            std::memcpy(row, source, static_cast<size_t>(b.columns) * sizeof(Word));
        } else if (b.from_column == 0) {
            const Word value = *source;
            for (int64_t c = 0; c < b.columns; c++) row[c] = value;
        } else {
            for (int64_t c = 0; c < b.columns; c++) row[c] = source[c * b.from_column];
        }
    }
}

template <class Word> void run_nest(Context& ctx, const Nest& nest, Word* to, const Word* from) {
    const int32_t outer = nest.rank - 2;
    const int64_t rows = nest.sizes[outer];
    int64_t count = rows;
    for (int32_t d = 0; d < outer; d++) count *= nest.sizes[d];
    Block block{0,
                nest.sizes[outer + 1],
                nest.to[outer],
                nest.to[outer + 1],
                nest.from[outer],
                nest.from[outer + 1]};
    ctx.parallel_for(count, grain_for(block.columns), [&](int64_t begin, int64_t end) {
        Odometer<2> at{outer, nest.sizes, {nest.to, nest.from}, {}, {}};
        at.seek(begin / rows);
        Block part = block;
        for (int64_t row = begin % rows; begin < end; row = 0, at.next()) {
            part.rows = rows - row < end - begin ? rows - row : end - begin;
            copy_block(to + at.offset[0] + row * part.to_row,
                       from + at.offset[1] + row * part.from_row, part);
            begin += part.rows;
        }
    });
}

}  // namespace

void copy_strided(Context& ctx, size_t item, int32_t rank, const int64_t* sizes, std::byte* to,
                  const int64_t* to_strides, const std::byte* from, const int64_t* from_strides) {
    Nest nest;
    for (int32_t d = 0; d < rank; d++) {
        if (sizes[d] == 0) return;
        if (sizes[d] > 1) nest.push(sizes[d], to_strides[d], from_strides[d]);
    }
    nest.merge();
    if (nest.rank == 0) nest.push(1, 1, 1);
    if (nest.rank == 1) {
        // One long run: cut it, so that threads can share it.
        const int64_t n = nest.sizes[0], piece = 16384;
        const int64_t to_step = nest.to[0], from_step = nest.from[0], whole = n / piece * piece;
        if (whole > 0 && whole < n) {
            const auto bytes = static_cast<int64_t>(item);
            const int64_t rest = n - whole;
            copy_strided(ctx, item, 1, &rest, to + whole * to_step * bytes, &to_step,
                         from + whole * from_step * bytes, &from_step);
        }
        const int64_t rows = whole > 0 ? n / piece : 1, columns = whole > 0 ? piece : n;
        nest.rank = 2;
        nest.sizes[0] = rows, nest.to[0] = columns * to_step, nest.from[0] = columns * from_step;
        nest.sizes[1] = columns, nest.to[1] = to_step, nest.from[1] = from_step;
    }
    nest.bring_unit_source_inward();
    with_word(item, [&](auto tag) {
        using Word = typename decltype(tag)::type;
        run_nest(ctx, nest, reinterpret_cast<Word*>(to), reinterpret_cast<const Word*>(from));
    });
}

namespace {

bool row_major(int32_t rank, const int64_t* sizes, const int64_t* strides) {
    int64_t expected = 1;
    for (int32_t d = rank - 1; d >= 0; d--) {
        if (sizes[d] != 1 && strides[d] != expected) return false;
        expected *= sizes[d];
    }
    return true;
}

void row_major_strides(int32_t rank, const int64_t* sizes, int64_t* strides) {
    int64_t stride = 1;
    for (int32_t d = rank - 1; d >= 0; d--) {
        strides[d] = stride;
        stride *= sizes[d];
    }
}

}  // namespace

void copy_in_order(Context& ctx, const View& from, const Tensor& to) {
    std::byte* data = static_cast<std::byte*>(to.data);
    const int64_t count = to.numel();
    if (count == 0) return;
    int64_t strides[max_rank];
    if (to.contiguous()) {
        row_major_strides(from.rank, from.sizes, strides);
        copy_strided(ctx, from.item, from.rank, from.sizes, data, strides, from.data, from.strides);
    } else if (row_major(from.rank, from.sizes, from.strides)) {
        row_major_strides(to.rank, to.sizes, strides);
        copy_strided(ctx, from.item, to.rank, to.sizes, data, to.strides, from.data, strides);
    } else {
        ctx.parallel_for(count, grain_for(1), [&](int64_t begin, int64_t end) {
            Odometer<1> source{from.rank, from.sizes, {from.strides}, {}, {}};
            Odometer<1> target{to.rank, to.sizes, {to.strides}, {}, {}};
            source.seek(begin);
            target.seek(begin);
            for (int64_t i = begin; i < end; i++, source.next(), target.next()) {
                std::memcpy(data + target.offset[0] * static_cast<int64_t>(from.item),
                            from.data + source.offset[0] * static_cast<int64_t>(from.item),
                            from.item);
            }
        });
    }
}

void write_region(Context& ctx, const View& from, const View& region) {
    copy_strided(ctx, from.item, from.rank, from.sizes, const_cast<std::byte*>(region.data),
                 region.strides, from.data, from.strides);
}

Status copy_view(Context& ctx, const View& from, Tensor& out) {
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, from.dtype));
    PENLIGHT_TRY(resize(ctx, out, from.rank, from.sizes));
    write_region(ctx, from, view_of(out));
    return Status::ok;
}

Status write_checked(Context& ctx, const Tensor& from, const View& region) {
    PENLIGHT_TRY(expect_dtype(ctx, "src", from, region.dtype));
    bool same = from.rank == region.rank;
    for (int32_t d = 0; same && d < from.rank; d++) same = from.sizes[d] == region.sizes[d];
    if (!same) {
        return ctx.fail("expected src of shape %s but got %s",
                        ShapeText(region.rank, region.sizes).text, ShapeText(from).text);
    }
    write_region(ctx, view_of(from), region);
    return Status::ok;
}

Status copy_same_shape(Context& ctx, const Tensor& self, Tensor& out) {
    if (self.data == out.data && self.dtype == out.dtype && self.rank == out.rank &&
        std::memcmp(self.sizes, out.sizes, sizeof(int64_t) * static_cast<size_t>(out.rank)) == 0) {
        return Status::ok;
    }
    return copy_view(ctx, view_of(self), out);
}

Status wrap_dim(Context& ctx, int64_t dim, int32_t rank, int32_t* wrapped) {
    const int64_t n = rank == 0 ? 1 : rank;
    if (dim < -n || dim >= n) {
        return ctx.fail("expected dim in [%" PRId64 ", %" PRId64 "] but got %" PRId64, -n, n - 1,
                        dim);
    }
    *wrapped = static_cast<int32_t>(dim < 0 ? dim + n : dim);
    return Status::ok;
}

Status wrap_index(Context& ctx, int64_t index, int64_t size, int64_t* wrapped) {
    if (index < -size || index >= size) {
        return ctx.fail("expected an index in [%" PRId64 ", %" PRId64 ") but got %" PRId64, -size,
                        size, index);
    }
    *wrapped = index < 0 ? index + size : index;
    return Status::ok;
}

Status wrap_dims(Context& ctx, const IntList& dims, int32_t rank, uint32_t* mask) {
    *mask = 0;
    for (uint32_t i = 0; i < dims.size(); i++) {
        int32_t dim = 0;
        PENLIGHT_TRY(wrap_dim(ctx, dims[i], rank, &dim));
        if (*mask >> dim & 1) return ctx.fail("expected distinct dims but got %d twice", dim);
        *mask |= uint32_t{1} << dim;
    }
    return Status::ok;
}

Status resolve_slice(Context& ctx, int64_t size, std::optional<int64_t> start,
                     std::optional<int64_t> end, int64_t step, Slice* slice) {
    if (step <= 0) return ctx.fail("expected step > 0 but got %" PRId64, step);
    auto clip = [size](int64_t v) {
        if (v < 0) v += size;
        return v < 0 ? 0 : v > size ? size : v;
    };
    const int64_t first = clip(start.value_or(0));
    const int64_t last = end ? clip(*end) : size;
    *slice = {first, last > first ? (last - first - 1) / step + 1 : 0, step};
    return Status::ok;
}

Status expect_dtype(Context& ctx, const char* name, const Tensor& t, int32_t dtype) {
    if (t.dtype == dtype) return Status::ok;
    return ctx.fail("expected %s of dtype %s but got %s", name, dtype_name(dtype),
                    dtype_name(t.dtype));
}

Status expect_index_dtype(Context& ctx, const char* name, const Tensor& t) {
    if (t.dtype == PENLIGHT_INT64 || t.dtype == PENLIGHT_INT32) return Status::ok;
    return ctx.fail("expected %s of dtype int64 or int32 but got %s", name, dtype_name(t.dtype));
}

Status expect_rank(Context& ctx, const char* name, const Tensor& t, int32_t low, int32_t high) {
    if (t.rank >= low && t.rank <= high) return Status::ok;
    if (low == high) return ctx.fail("expected %s of rank %d but got %d", name, low, t.rank);
    return ctx.fail("expected %s of rank %d to %d but got %d", name, low, high, t.rank);
}

Status expect_contiguous(Context& ctx, const char* name, const Tensor& t) {
    if (t.contiguous()) return Status::ok;
    return ctx.fail("expected %s in contiguous dim order but got another; export it contiguous",
                    name);
}

Status expect_indices(Context& ctx, const char* name, const Tensor& index, int64_t size,
                      bool negative) {
    PENLIGHT_TRY(expect_index_dtype(ctx, name, index));
    const int64_t low = negative ? -size : 0, count = index.numel();
    // The elements of a tensor fill its memory, so the order does not matter here.
    for (int64_t i = 0; i < count; i++) {
        const int64_t value = load_index(index, i);
        if (value < low || value >= size) {
            return ctx.fail("expected %s in [%" PRId64 ", %" PRId64 ") but got %" PRId64, name, low,
                            size, value);
        }
    }
    return Status::ok;
}

void store_scalar(const Scalar& value, int32_t dtype, std::byte* element) {
    visit_dtype(dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        const T number =
            value.kind == PENLIGHT_REAL ? convert<T>(value.real) : convert<T>(value.integer);
        std::memcpy(element, &number, sizeof number);
    });
}

ShapeText::ShapeText(int32_t rank, const int64_t* sizes) {
    size_t used = static_cast<size_t>(std::snprintf(text, sizeof text, "["));
    for (int32_t d = 0; d < rank && used < sizeof text - 24; d++) {
        used += static_cast<size_t>(std::snprintf(text + used, sizeof text - used, "%s%" PRId64,
                                                  d == 0 ? "" : ", ", sizes[d]));
    }
    std::snprintf(text + used, sizeof text - used, "]");
}

}  // namespace penlight::kernels
