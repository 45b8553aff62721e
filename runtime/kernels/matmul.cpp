// mm, bmm, addmm, linear: products of matrices, by gemm.h.
#include <algorithm>

#include "gemm.h"

namespace penlight::kernels {
namespace {

Status check_dtypes(Context& ctx, const Tensor& a, const Tensor& b, const Tensor& out) {
    if (a.dtype == b.dtype && a.dtype == out.dtype && a.dtype != PENLIGHT_BOOL) return Status::ok;
    return ctx.fail(
        "expected factors and result of one numeric dtype but got %s, %s and %s; "
        "convert them first",
        dtype_name(a.dtype), dtype_name(b.dtype), dtype_name(out.dtype));
}

Status check_product(Context& ctx, const Tensor& a, const Tensor& b, int32_t rank) {
    if (a.rank != rank || b.rank != rank)
        return ctx.fail("expected factors of rank %d but got %d and %d; reshape them", rank, a.rank,
                        b.rank);
    if (a.size(rank - 1) != b.size(rank - 2) || (rank == 3 && a.size(0) != b.size(0)))
        return ctx.fail(
            "expected factors whose inner sizes are equal but got %lld columns and "
            "%lld rows; check the shapes",
            static_cast<long long>(a.size(rank - 1)), static_cast<long long>(b.size(rank - 2)));
    return Status::ok;
}

// The last two dimensions as matrices, the first of three as batch.
Gemm product(const Tensor& a, const Tensor& b, Tensor& out) {
    const int32_t r = a.rank;
    Gemm g;
    g.rows = a.size(r - 2);
    g.depth = a.size(r - 1);
    g.cols = b.size(r - 1);
    g.a = operand(a, a.stride(r - 2), a.stride(r - 1));
    g.b = operand(b, b.stride(r - 1), b.stride(r - 2));
    g.out.data = out.data;
    g.out.dtype = out.dtype;
    g.out.row_stride = out.stride(r - 2);
    g.out.col_stride = out.stride(r - 1);
    if (r == 3) {
        g.outer = a.size(0);
        g.a.outer_stride = a.stride(0);
        g.b.outer_stride = b.stride(0);
        g.out.outer_stride = out.stride(0);
    }
    return g;
}

size_t product_scratch(uint32_t threads, const Tensor& a, const Tensor& b) {
    const int32_t r = a.rank;
    if (r < 2 || b.rank != r) return 0;
    return gemm_scratch(threads, a.max_sizes[r - 2], b.max_sizes[r - 1], a.max_sizes[r - 1]);
}

Status mm_out(Context& ctx, const Tensor& a, const Tensor& b, Tensor& out) {
    PENLIGHT_TRY(check_dtypes(ctx, a, b, out));
    PENLIGHT_TRY(check_product(ctx, a, b, 2));
    const int64_t sizes[] = {a.size(0), b.size(1)};
    PENLIGHT_TRY(resize(ctx, out, 2, sizes));
    return gemm(ctx, product(a, b, out));
}
size_t mm_scratch(uint32_t threads, const Tensor& a, const Tensor& b, Tensor&) {
    return product_scratch(threads, a, b);
}

Status bmm_out(Context& ctx, const Tensor& a, const Tensor& b, Tensor& out) {
    PENLIGHT_TRY(check_dtypes(ctx, a, b, out));
    PENLIGHT_TRY(check_product(ctx, a, b, 3));
    const int64_t sizes[] = {a.size(0), a.size(1), b.size(2)};
    PENLIGHT_TRY(resize(ctx, out, 3, sizes));
    return gemm(ctx, product(a, b, out));
}

// Describe `add` as broadcast to [rows, cols]; false if it cannot be.
bool broadcast_add(Gemm& g, const Tensor& add) {
    if (add.rank > 2) return false;
    const int64_t cols = add.rank >= 1 ? add.size(add.rank - 1) : 1;
    const int64_t rows = add.rank == 2 ? add.size(0) : 1;
    if ((cols != 1 && cols != g.cols) || (rows != 1 && rows != g.rows)) return false;
    g.add.data = add.data;
    g.add.dtype = add.dtype;
    g.add.col_stride = cols == 1 ? 0 : add.stride(add.rank - 1);
    g.add.row_stride = rows == 1 ? 0 : add.stride(0);
    return true;
}

Status addmm_out(Context& ctx, const Tensor& self, const Tensor& a, const Tensor& b, Scalar beta,
                 Scalar alpha, Tensor& out) {
    PENLIGHT_TRY(check_dtypes(ctx, a, b, out));
    PENLIGHT_TRY(check_product(ctx, a, b, 2));
    if (self.dtype != out.dtype)
        return ctx.fail("expected a summand of dtype %s but got %s; convert it first",
                        dtype_name(out.dtype), dtype_name(self.dtype));
    if (!is_floating(out.dtype) && (beta.kind == PENLIGHT_REAL || alpha.kind == PENLIGHT_REAL))
        return ctx.fail("expected integer alpha and beta for %s but got a real number",
                        dtype_name(out.dtype));
    const int64_t sizes[] = {a.size(0), b.size(1)};
    PENLIGHT_TRY(resize(ctx, out, 2, sizes));
    Gemm g = product(a, b, out);
    g.alpha = alpha;
    g.beta = beta;
    if (!broadcast_add(g, self))
        return ctx.fail("expected a summand that broadcasts to [%lld, %lld]; check the shapes",
                        static_cast<long long>(g.rows), static_cast<long long>(g.cols));
    return gemm(ctx, g);
}
size_t addmm_scratch(uint32_t threads, const Tensor&, const Tensor& a, const Tensor& b, Scalar,
                     Scalar, Tensor&) {
    return product_scratch(threads, a, b);
}

// out[..., n] = sum_k x[..., k] * weight[n, k] + bias[n]
Status linear_out(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor* bias,
                  Tensor& out) {
    PENLIGHT_TRY(check_dtypes(ctx, x, weight, out));
    const int32_t last = x.rank - 1;
    if (x.rank < 1 || weight.rank != 2 || x.size(last) != weight.size(1))
        return ctx.fail(
            "expected a weight [out, in] whose second size is the input's last one; "
            "check the shapes");
    if (bias && (bias->rank != 1 || bias->size(0) != weight.size(0) || bias->dtype != out.dtype))
        return ctx.fail("expected a bias [%lld] of dtype %s; check its shape and dtype",
                        static_cast<long long>(weight.size(0)), dtype_name(out.dtype));
    int64_t sizes[PENLIGHT_MAX_RANK];
    std::copy_n(x.sizes, last, sizes);
    sizes[last] = weight.size(0);
    PENLIGHT_TRY(resize(ctx, out, x.rank, sizes));
    if (!x.contiguous() || !out.contiguous())
        return ctx.fail("expected contiguous input and result; make a contiguous copy first");
    Gemm g;
    g.rows = 1;
    for (int32_t d = 0; d < last; d++) g.rows *= x.size(d);
    g.cols = weight.size(0);
    g.depth = weight.size(1);
    g.a = operand(x, g.depth, 1);
    g.b = operand(weight, weight.stride(0), weight.stride(1));
    g.out.data = out.data;
    g.out.dtype = out.dtype;
    g.out.row_stride = g.cols;
    g.out.col_stride = 1;
    if (bias) {
        g.add.data = bias->data;
        g.add.dtype = bias->dtype;
        g.add.col_stride = bias->stride(0);
    }
    return gemm(ctx, g);
}
size_t linear_scratch(uint32_t threads, const Tensor& x, const Tensor& weight, const Tensor*,
                      Tensor&) {
    if (x.rank < 1 || weight.rank != 2) return 0;
    int64_t rows = 1;
    for (int32_t d = 0; d + 1 < x.rank; d++)
        if (__builtin_mul_overflow(rows, x.max_sizes[d], &rows)) return SIZE_MAX;
    return gemm_scratch(threads, rows, weight.max_sizes[0], weight.max_sizes[1]);
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(addmm_out, addmm_scratch)
PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(bmm_out, mm_scratch)
PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(linear_out, linear_scratch)
PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(mm_out, mm_scratch)
