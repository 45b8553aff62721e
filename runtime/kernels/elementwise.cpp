#include "elementwise.h"

#include <algorithm>
#include <cstring>

namespace penlight::kernels {

namespace {

constexpr int64_t block_size = 512;

// One operand as the loop sees it.
struct Lane {
    std::byte* data;
    int64_t strides[PENLIGHT_MAX_RANK];  // in elements
    size_t item;
    bool direct;          // the compute type itself: read or written in place where contiguous
    LoadFunction load;    // of an input
    StoreFunction store;  // of the output
    LoadFunction narrowed_load;     // from the common dtype, where values must be rounded to it
    StoreFunction narrowing_store;  // to the common dtype
};

struct Loop {
    int inputs;
    int32_t rank;
    int64_t sizes[PENLIGHT_MAX_RANK];
    Lane lanes[max_inputs + 1];  // [inputs] inputs, then the output
    BlockFunction function;
    const Scalar* parameters;
    std::atomic<bool>* fault;
    Lane& out() { return lanes[inputs]; }
    const Lane& out() const { return lanes[inputs]; }
};

}  // namespace

int32_t result_type(std::initializer_list<Input> inputs) {
    // Tensors with dimensions outrank 0-d tensors, which outrank numbers, within one category.
    constexpr int32_t none = -2;
    int32_t classes[3] = {none, none, none};
    for (const Input& input : inputs) {
        int which = 2;
        int32_t dtype;
        if (input.tensor != nullptr) {
            which = input.tensor->rank == 0 ? 1 : 0;
            dtype = input.tensor->dtype;
        } else {
            dtype = input.scalar.kind == PENLIGHT_REAL      ? PENLIGHT_FLOAT
                    : input.scalar.kind == PENLIGHT_BOOLEAN ? PENLIGHT_BOOL
                                                            : PENLIGHT_INT64;
        }
        int32_t& merged = classes[which];
        merged = merged == none ? dtype : promote(merged, dtype);
        if (merged == -1) return -1;
    }
    int32_t result = classes[2];
    for (int which = 1; which >= 0; which--) {
        const int32_t higher = classes[which], lower = result;
        if (higher == none) continue;
        if (lower == none || is_floating(higher)) {
            result = higher;
        } else if (higher == PENLIGHT_BOOL || is_floating(lower)) {
            result = promote(higher, lower);
        } else {
            result = higher;
        }
        if (result == -1) return -1;
    }
    return result;
}

// The broadcast shape of the inputs.
static Status broadcast_shape(Context& ctx, std::initializer_list<Input> inputs, int32_t* rank,
                              int64_t* sizes) {
    *rank = 0;
    for (const Input& input : inputs) {
        if (input.tensor != nullptr) *rank = std::max(*rank, input.tensor->rank);
    }
    std::fill(sizes, sizes + *rank, 1);
    for (const Input& input : inputs) {
        if (input.tensor == nullptr) continue;
        const Tensor& t = *input.tensor;
        const int32_t lead = *rank - t.rank;
        for (int32_t d = 0; d < t.rank; d++) {
            int64_t& size = sizes[lead + d];
            if (t.sizes[d] == size || t.sizes[d] == 1) continue;
            if (size != 1) {
                return ctx.fail(
                    "expected shapes that broadcast but got %s with size %lld at "
                    "dimension %d, where another has %lld",
                    ShapeText(t).text, static_cast<long long>(t.sizes[d]), d,
                    static_cast<long long>(size));
            }
            size = t.sizes[d];
        }
    }
    return Status::ok;
}

// Dimensions from the output's outermost to its innermost, merged where every lane allows it.
static void simplify(Loop& loop) {
    const int lanes = loop.inputs + 1;
    int32_t kept = 0;
    int32_t order[PENLIGHT_MAX_RANK];
    for (int32_t d = 0; d < loop.rank; d++) {
        if (loop.sizes[d] != 1) order[kept++] = d;
    }
    std::stable_sort(order, order + kept, [&](int32_t a, int32_t b) {
        return loop.out().strides[a] > loop.out().strides[b];
    });
    const Loop from = loop;
    loop.rank = 0;
    for (int32_t i = 0; i < kept; i++) {
        const int32_t d = order[i];
        bool mergeable = loop.rank > 0;
        for (int l = 0; l < lanes && mergeable; l++) {
            mergeable =
                loop.lanes[l].strides[loop.rank - 1] == from.lanes[l].strides[d] * from.sizes[d];
        }
        if (mergeable) {
            loop.sizes[loop.rank - 1] *= from.sizes[d];
        } else {
            loop.sizes[loop.rank++] = from.sizes[d];
        }
        for (int l = 0; l < lanes; l++) {
            loop.lanes[l].strides[loop.rank - 1] = from.lanes[l].strides[d];
        }
    }
    if (loop.rank == 0) {
        loop.rank = 1;
        loop.sizes[0] = 1;
        for (int l = 0; l < lanes; l++) loop.lanes[l].strides[0] = 1;
    }
}

namespace {

// A position in a loop, moved row by row of the innermost dimension.
class Cursor {
  public:
    Cursor(const Loop& loop, int64_t linear) : loop_(loop), inner_(loop.rank - 1) {
        for (int l = 0; l <= loop.inputs; l++) pointers_[l] = loop.lanes[l].data;
        for (int32_t d = inner_; d >= 0; d--) {
            index_[d] = linear % loop.sizes[d];
            linear /= loop.sizes[d];
            move(d, index_[d]);
        }
    }
    std::byte* pointer(int l) const { return pointers_[l]; }
    // Elements to the end of the row, at most `limit`.
    int64_t row(int64_t limit) const {
        return std::min(loop_.sizes[inner_] - index_[inner_], limit);
    }
    void advance(int64_t count) {
        move(inner_, count);
        index_[inner_] += count;
        for (int32_t d = inner_; d > 0 && index_[d] == loop_.sizes[d]; d--) {
            move(d, -loop_.sizes[d]);
            index_[d] = 0;
            index_[d - 1]++;
            move(d - 1, 1);
        }
    }

  private:
    void move(int32_t d, int64_t steps) {
        for (int l = 0; l <= loop_.inputs; l++) {
            const Lane& lane = loop_.lanes[l];
            pointers_[l] += steps * lane.strides[d] * static_cast<int64_t>(lane.item);
        }
    }

    const Loop& loop_;
    const int32_t inner_;
    int64_t index_[PENLIGHT_MAX_RANK];
    std::byte* pointers_[max_inputs + 1];
};

// One thread's part of a pointwise loop, with a buffer per lane.
class Runner {
  public:
    explicit Runner(const Loop& loop) : loop_(loop), inner_(loop.rank - 1) {
        const Lane& out = loop.out();
        in_place_ = out.direct && out.strides[inner_] == 1;
        bool buffered = !in_place_;
        for (int l = 0; l < loop.inputs; l++) {
            buffered = buffered || !loop.lanes[l].direct || loop.lanes[l].strides[inner_] != 1;
        }
        limit_ = buffered ? block_size : INT64_MAX;
    }

    void run(int64_t begin, int64_t end) {
        Cursor cursor(loop_, begin);
        while (begin < end) {
            const int64_t row = cursor.row(end - begin);
            for (int64_t i = 0; i < row; i += limit_) {
                block(cursor, i, std::min(limit_, row - i));
                if (limit_ >= row) break;
            }
            cursor.advance(row);
            begin += row;
        }
    }

  private:
    const void* input(const Cursor& cursor, int l, int64_t offset, int64_t count) {
        const Lane& lane = loop_.lanes[l];
        const int64_t stride = lane.strides[inner_];
        const std::byte* from =
            cursor.pointer(l) + offset * stride * static_cast<int64_t>(lane.item);
        if (lane.direct && stride == 1) return from;
        if (stride == 0) {
            if (repeated_[l] == from) return buffers_[l];
            repeated_[l] = from;
            count = block_size;
        }
        lane.load(from, stride, count, buffers_[l]);
        if (lane.narrowing_store != nullptr) narrow(lane, buffers_[l], count);
        return buffers_[l];
    }

    static void narrow(const Lane& lane, void* values, int64_t count) {
        alignas(64) std::byte narrow[block_size * 8];
        lane.narrowing_store(values, 1, count, narrow);
        lane.narrowed_load(narrow, 1, count, values);
    }

    void block(const Cursor& cursor, int64_t offset, int64_t count) {
        const Lane& out = loop_.out();
        const int64_t stride = out.strides[inner_];
        std::byte* to =
            cursor.pointer(loop_.inputs) + offset * stride * static_cast<int64_t>(out.item);
        Block b{};
        for (int l = 0; l < loop_.inputs; l++) b.in[l] = input(cursor, l, offset, count);
        b.out = in_place_ ? static_cast<void*>(to) : buffers_[max_inputs];
        b.count = count;
        b.parameters = loop_.parameters;
        b.fault = loop_.fault;
        loop_.function(b);
        if (in_place_) return;
        if (out.narrowing_store != nullptr) narrow(out, b.out, count);
        out.store(b.out, stride, count, to);
    }

    const Loop& loop_;
    const int32_t inner_;
    int64_t limit_;
    bool in_place_;
    const std::byte* repeated_[max_inputs] = {};
    alignas(64) std::byte buffers_[max_inputs + 1][block_size * 8];
};

}  // namespace

// Whether values of a dtype, held as the compute type, may be none of the common dtype.
static bool narrows(Compute c, int32_t dtype, int32_t common) {
    if (dtype == common || dtype == PENLIGHT_BOOL || compute_dtype(c) == common) return false;
    return is_floating(dtype) != is_floating(common) || item_size(dtype) >= item_size(common);
}

static void set_lane(Lane& lane, Compute c, int32_t dtype, int32_t common, bool exact) {
    lane.item = item_size(dtype);
    lane.direct = dtype == compute_dtype(c);
    lane.load = load_function(c, dtype);
    lane.store = store_function(c, dtype);
    const bool narrow = !exact && narrows(c, dtype, common);
    lane.narrowed_load = narrow ? load_function(c, common) : nullptr;
    lane.narrowing_store = narrow ? store_function(c, common) : nullptr;
}

static Status common_dtype(Context& ctx, const PointwiseOp& op, std::initializer_list<Input> inputs,
                           const Tensor& out, int32_t* common) {
    *common = result_type(inputs);
    if (*common < 0) {
        return ctx.fail("expected dtypes that promote to a common one but got %s; cast the inputs",
                        "an unsigned integer wider than 8 bits beside another integer");
    }
    if (op.rule == Rule::real && !is_floating(*common)) *common = PENLIGHT_FLOAT;
    if (*common == PENLIGHT_UINT64 && !op.modular) {
        return ctx.fail("expected any dtype but uint64; cast to int64 first");
    }
    if (*common == PENLIGHT_BOOL && !op.accepts_bool) {
        return ctx.fail("expected numbers but got bool; cast the input first");
    }
    if (op.rule != Rule::test && !can_cast(*common, out.dtype)) {
        return ctx.fail("expected an out that can hold %s but got %s", dtype_name(*common),
                        dtype_name(out.dtype));
    }
    return Status::ok;
}

static Status choose_function(Context& ctx, const PointwiseOp& op, Compute c, int32_t common,
                              BlockFunction* function) {
    *function = c == Compute::f32 ? op.f32 : c == Compute::f64 ? op.f64 : op.i64;
    if (*function != nullptr) return Status::ok;
    return ctx.fail("expected %s but got %s; cast the input first",
                    c == Compute::i64 ? "a floating dtype" : "an integer dtype",
                    dtype_name(common));
}

static void set_strides(Lane& lane, const Tensor& t, int32_t rank) {
    for (int32_t d = 0; d < rank; d++) {
        const int32_t own = d - (rank - t.rank);
        lane.strides[d] = own < 0 || t.sizes[own] == 1 ? 0 : t.strides[own];
    }
}

static Status run(Context& ctx, Loop& loop, bool expensive) {
    int64_t count = 1;
    for (int32_t d = 0; d < loop.rank; d++) count *= loop.sizes[d];
    if (count == 0) return Status::ok;
    simplify(loop);
    const int64_t grain = expensive ? 4096 : 32768;
    if (count <= grain) {
        Runner(loop).run(0, count);
    } else {
        ctx.parallel_for(count, grain,
                         [&](int64_t begin, int64_t end) { Runner(loop).run(begin, end); });
    }
    if (loop.fault->load(std::memory_order_relaxed)) {
        return ctx.fail("expected divisors other than 0 for integer division but got 0");
    }
    return Status::ok;
}

// The memory of input l, which is a tensor or the number that `input` itself holds.
static Status set_input(Context& ctx, Loop& loop, int l, const Input& input, Compute c,
                        int32_t common, bool exact) {
    Lane& lane = loop.lanes[l];
    if (input.tensor != nullptr) {
        set_lane(lane, c, input.tensor->dtype, common, exact);
        lane.data = static_cast<std::byte*>(input.tensor->data);
        set_strides(lane, *input.tensor, loop.rank);
    } else {
        const Scalar& s = input.scalar;
        const bool real = s.kind == PENLIGHT_REAL;
        set_lane(lane, c, real ? PENLIGHT_DOUBLE : PENLIGHT_INT64, common, exact);
        const void* value = real ? static_cast<const void*>(&s.real) : &s.integer;
        lane.data = static_cast<std::byte*>(const_cast<void*>(value));
    }
    if (lane.load != nullptr) return Status::ok;
    return ctx.fail("expected a known dtype but got code %d", input.tensor->dtype);
}

static Status set_output(Context& ctx, Loop& loop, Tensor& out, Compute c, int32_t common,
                         bool exact) {
    Lane& lane = loop.out();
    set_lane(lane, c, out.dtype, common, exact);
    lane.data = static_cast<std::byte*>(out.data);
    set_strides(lane, out, loop.rank);
    if (lane.store != nullptr) return Status::ok;
    return ctx.fail("expected a known dtype but got code %d", out.dtype);
}

Status pointwise(Context& ctx, const PointwiseOp& op, std::initializer_list<Input> inputs,
                 Tensor& out, std::initializer_list<Scalar> parameters) {
    int32_t common;
    PENLIGHT_TRY(common_dtype(ctx, op, inputs, out, &common));
    const Compute c = compute_type(common);
    std::atomic<bool> fault{false};
    Scalar filled[max_parameters] = {};
    std::copy(parameters.begin(), parameters.end(), filled);
    Loop loop{};
    loop.parameters = filled;
    loop.fault = &fault;
    loop.inputs = static_cast<int>(inputs.size());
    PENLIGHT_TRY(choose_function(ctx, op, c, common, &loop.function));
    PENLIGHT_TRY(broadcast_shape(ctx, inputs, &loop.rank, loop.sizes));
    PENLIGHT_TRY(resize(ctx, out, loop.rank, loop.sizes));
    int l = 0;
    for (const Input& input : inputs) {
        const bool number = input.tensor == nullptr || input.tensor->rank == 0;
        const bool exact = op.exact_scalar && l == 1 && number && is_floating(common);
        PENLIGHT_TRY(set_input(ctx, loop, l++, input, c, common, exact));
    }
    PENLIGHT_TRY(set_output(ctx, loop, out, c, common, op.rule == Rule::test));
    return run(ctx, loop, op.expensive);
}

template <class C> static void identity(const Block& b) {
    std::memcpy(b.out, b.in[0], static_cast<size_t>(b.count) * sizeof(C));
}

// Where `out` holds truth values or uint64, a real number must stay one until it is stored.
static Compute cast_type(int32_t from, int32_t to) {
    const bool late = to == PENLIGHT_BOOL || to == PENLIGHT_UINT64;
    return compute_type(late ? from : to);
}

static Status assign(Context& ctx, const Input& input, Compute c, Tensor& out) {
    std::atomic<bool> fault{false};
    Loop loop{};
    loop.fault = &fault;
    loop.inputs = 1;
    loop.function = c == Compute::f32 ? &identity<float> : &identity<double>;
    loop.rank = out.rank;
    std::copy(out.sizes, out.sizes + out.rank, loop.sizes);
    PENLIGHT_TRY(set_input(ctx, loop, 0, input, c, out.dtype, true));
    PENLIGHT_TRY(set_output(ctx, loop, out, c, out.dtype, true));
    return run(ctx, loop, false);
}

Status cast_into(Context& ctx, const Tensor& self, Tensor& out) {
    bool fits = self.rank <= out.rank;
    for (int32_t d = 0; fits && d < self.rank; d++) {
        const int64_t size = out.sizes[out.rank - self.rank + d];
        fits = self.sizes[d] == size || self.sizes[d] == 1;
    }
    if (!fits) {
        return ctx.fail("expected a source that broadcasts to %s but got %s", ShapeText(out).text,
                        ShapeText(self).text);
    }
    if (self.data == out.data && self.dtype == out.dtype) return Status::ok;
    if (self.dtype != out.dtype) {
        return assign(ctx, self, cast_type(self.dtype, out.dtype), out);
    }
    int64_t strides[PENLIGHT_MAX_RANK] = {};
    for (int32_t d = 0; d < self.rank; d++) {
        if (self.sizes[d] != 1) strides[out.rank - self.rank + d] = self.strides[d];
    }
    copy_strided(ctx, item_size(out.dtype), out.rank, out.sizes, out.ptr<std::byte>(), out.strides,
                 self.ptr<std::byte>(), strides);
    return Status::ok;
}

Status fill_with(Context& ctx, const Scalar& value, Tensor& out) {
    const int32_t dtype = value.kind == PENLIGHT_REAL ? PENLIGHT_DOUBLE : PENLIGHT_INT64;
    return assign(ctx, value, cast_type(dtype, out.dtype), out);
}

}  // namespace penlight::kernels
