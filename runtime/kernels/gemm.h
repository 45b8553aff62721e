// Matrix multiplication, for every operator that is one: mm, linear, convolution and their kin.
//
//   Gemm g;                                    // out[b] = alpha * A[b] B[b] + beta * add[b]
//   g.rows = m, g.cols = n, g.depth = k;       // A [rows, depth], B [depth, cols]
//   g.a = operand(x, x.stride(0), x.stride(1));
//   g.b = operand(w, w.stride(0), w.stride(1));   // lane (column) stride, depth stride
//   g.out = {out.data, out.dtype, out.stride(0), out.stride(1)};
//   return gemm(ctx, g);                       // scratch: gemm_scratch(threads, m, n, k)
//
// Any strides and dtypes; the sum is taken in the compute type of the output's dtype. Every element
// is summed over the depth in one fixed order, so results do not depend on the thread count.
#pragma once

#include "dtype.h"

namespace penlight::kernels {

// A's rows or B's columns ("lanes"), each a vector along the depth. Strides are in elements.
struct GemmOperand {
    const void* data = nullptr;
    int32_t dtype = PENLIGHT_FLOAT;
    int64_t lane_stride = 0;
    int64_t depth_stride = 0;
    int64_t outer_stride = 0;  // from one batch to the next
    int64_t inner_stride = 0;
    // A alone, if not 0: the depth is runs of this length, depth_run_stride apart.
    int64_t depth_run = 0;
    int64_t depth_run_stride = 0;
    // B alone, if set: lanes are not spaced evenly; writes lanes [first, first + count) to
    // out[depth][width] in the compute type; lanes from count to width are left alone.
    void (*gather)(const void* self, int64_t outer, int64_t inner, int64_t first, int64_t count,
                   int64_t width, void* out) = nullptr;
    const void* self = nullptr;
};

struct GemmMatrix {
    void* data = nullptr;
    int32_t dtype = PENLIGHT_FLOAT;
    int64_t row_stride = 0;
    int64_t col_stride = 0;
    int64_t outer_stride = 0;
    int64_t inner_stride = 0;
};

struct Gemm {
    int64_t rows = 0, cols = 0, depth = 0;
    int64_t outer = 1, inner = 1;  // outer * inner independent products
    GemmOperand a, b;
    GemmMatrix out;
    GemmMatrix add;  // data null: none; zero strides broadcast
    Scalar alpha{PENLIGHT_INT, 1, 0};
    Scalar beta{PENLIGHT_INT, 1, 0};
};

inline GemmOperand operand(const Tensor& t, int64_t lane_stride, int64_t depth_stride) {
    GemmOperand o;
    o.data = t.data;
    o.dtype = t.dtype;
    o.lane_stride = lane_stride;
    o.depth_stride = depth_stride;
    return o;
}

Status gemm(Context& ctx, const Gemm& g);
// Bytes for any product up to these sizes; SIZE_MAX if that overflows.
size_t gemm_scratch(uint32_t threads, int64_t rows, int64_t cols, int64_t depth);

// The float core, compiled per instruction set.
struct GemmCore {
    int rows, cols;  // of the largest tile, at most gemm_max_tile
    // tile[rows][core.cols] = A B, with A's rows contiguous along the depth; tile's rows are
    // tile_stride apart.
    void (*tile)(int rows, const float* a, int64_t a_stride, const float* b, int64_t b_stride,
                 int64_t depth, float* tile, int64_t tile_stride);
    // out[row][lane] = a[row] . b[lane], for up to four lanes, everything contiguous in depth.
    void (*dot)(int64_t rows, int lanes, const float* a, int64_t a_stride, const float* b,
                int64_t b_stride, int64_t depth, float* out);
};
inline constexpr int gemm_max_tile = 32;
inline constexpr int gemm_max_dot_lanes = 4;

}  // namespace penlight::kernels
