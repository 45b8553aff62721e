// Keys and values of earlier positions: what the operators that write and read them share.
#pragma once

#include "dtype.h"

namespace penlight::kernels {

// A row of a cache, one head at one position, is its elements in a floating type; or int8 numbers
// and behind them a float32 scale, which what they stand for is a multiple of.
inline int64_t cache_row(int32_t dtype, int64_t dim) {
    return dtype == PENLIGHT_INT8 ? dim + int64_t{sizeof(float)} : dim;
}

// The first position, input_pos[0], of `count` new tokens in a cache of `length` positions.
inline Status cache_start(Context& ctx, const Tensor& input_pos, int64_t count, int64_t length,
                          int64_t* start) {
    if (input_pos.dtype != PENLIGHT_INT64 || input_pos.numel() != 1)
        return ctx.fail("expected one int64 position");
    *start = input_pos.ptr<int64_t>()[0];
    if (*start < 0 || *start > length || count > length - *start)
        return ctx.fail(
            "expected positions within the %lld of the cache but got %lld to %lld; shorten the "
            "text or export with a longer context",
            static_cast<long long>(length), static_cast<long long>(*start),
            static_cast<long long>(*start + count - 1));
    return Status::ok;
}

}  // namespace penlight::kernels
