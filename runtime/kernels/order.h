// How sort, argsort and topk order elements of any dtype: by unsigned keys.
#pragma once

#include "dtype.h"
#include "movement.h"

namespace penlight::kernels {

// Keys of one dtype compare as its values do; NaN is the greatest, and -0 equals 0.
template <class T> inline uint64_t order_key(T value) {
    if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
        return order_key(convert<float>(value));
    } else if constexpr (std::is_same_v<T, Bool>) {
        return value.bits != 0;
    } else if constexpr (is_real<T>) {
        using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
        constexpr Bits sign = Bits{1} << (8 * sizeof(T) - 1);
        if (value != value) return std::numeric_limits<Bits>::max();
        const Bits bits = std::bit_cast<Bits>(value == 0 ? T{0} : value);
        return bits & sign ? static_cast<Bits>(~bits) : static_cast<Bits>(bits | sign);
    } else if constexpr (std::is_signed_v<T>) {
        return static_cast<uint64_t>(static_cast<int64_t>(value)) ^ uint64_t { 1 } << 63;
    } else {
        return value;
    }
}

struct Ranked {
    uint64_t key;
    int64_t index;
};

// row[i] = {key of element i of data, i}; a reversed order has complemented keys.
inline void rank_row(int32_t dtype, const std::byte* data, int64_t stride, int64_t count,
                     bool reversed, Ranked* row) {
    const uint64_t flip = reversed ? ~uint64_t{0} : 0;
    visit_dtype(dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        const T* from = reinterpret_cast<const T*>(data);
        for (int64_t i = 0; i < count; i++) row[i] = {order_key(from[i * stride]) ^ flip, i};
    });
}

// Rows along one dimension of self, shared out over slots of scratch memory.
struct RowLoop {
    int32_t dim;
    int64_t length, stride;  // of a row of self
    View rows;               // self with the dimension of size 1
    int64_t count;

    Status prepare(Context& ctx, const Tensor& self, int64_t requested) {
        PENLIGHT_TRY(wrap_dim(ctx, requested, self.rank, &dim));
        rows = view_of(self);
        if (rows.rank == 0) rows.insert(0, 1, 1);
        length = rows.sizes[dim];
        stride = rows.strides[dim];
        rows.sizes[dim] = 1;
        count = 1;
        for (int32_t d = 0; d < rows.rank; d++) count *= rows.sizes[d];
        return Status::ok;
    }

    // body(slot's memory, offset in self, offset in out) for every row.
    template <class F>
    Status run(Context& ctx, size_t slot_bytes, const Tensor& out, const F& body) const {
        if (count == 0) return Status::ok;
        View result = view_of(out);
        if (result.rank == 0) result.insert(0, 1, 1);
        const size_t memory = slot_bytes == 0 ? SIZE_MAX : ctx.scratch_size / slot_bytes;
        if (memory == 0)
            return ctx.fail("expected rows within the planned size but got longer ones");
        int64_t slots = static_cast<int64_t>(ctx.threads());
        if (slots > count) slots = count;
        if (static_cast<size_t>(slots) > memory) slots = static_cast<int64_t>(memory);
        ctx.parallel_for(slots, 1, [&](int64_t begin, int64_t end) {
            for (int64_t s = begin; s < end; s++) {
                Odometer<2> at{rows.rank, rows.sizes, {rows.strides, result.strides}, {}, {}};
                const int64_t first = count / slots * s + (s < count % slots ? s : count % slots);
                const int64_t share = count / slots + (s < count % slots ? 1 : 0);
                at.seek(first);
                for (int64_t r = 0; r < share; r++, at.next()) {
                    body(ctx.scratch() + static_cast<size_t>(s) * slot_bytes, at.offset[0],
                         at.offset[1]);
                }
            }
        });
        return Status::ok;
    }
};

// threads * count * each, or SIZE_MAX.
inline size_t slots_size(uint32_t threads, int64_t count, size_t each) {
    size_t bytes;
    return __builtin_mul_overflow(static_cast<size_t>(count), each, &bytes) ||
                   __builtin_mul_overflow(bytes, static_cast<size_t>(threads), &bytes)
               ? SIZE_MAX
               : bytes;
}

}  // namespace penlight::kernels
