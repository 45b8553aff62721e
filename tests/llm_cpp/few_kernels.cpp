// The kernels that the programs use, instead of the whole table: a sanitized build takes its time.
#include "kernel.h"

#define KERNELS(X)                                  \
    X("aten::_to_copy.out", _to_copy_out)           \
    X("aten::add.Scalar_out", add_Scalar_out)       \
    X("aten::add.out", add_out)                     \
    X("aten::arange.start_out", arange_start_out)   \
    X("aten::div.Scalar_out", div_Scalar_out)       \
    X("aten::div.out", div_Tensor_out)              \
    X("aten::embedding.out", embedding_out)         \
    X("aten::full.out", full_out)                   \
    X("aten::index_put_", index_put_)               \
    X("aten::lt.Tensor_out", lt_Tensor_out)         \
    X("aten::mul.out", mul_Tensor_out)              \
    X("aten::select_copy.int_out", select_copy_out) \
    X("aten::sum.IntList_out", sum_IntList_out)     \
    X("aten::sym_size.int", sym_size_int)           \
    X("executorch_prim::et_view.default", et_view)  \
    X("executorch_prim::sub.Scalar", prim_sub)

namespace penlight {

namespace kernels {
#define DECLARE(NAME, KERNEL) extern const BoxedKernel KERNEL##_kernel;
KERNELS(DECLARE)
}  // namespace kernels

KernelTable builtin_kernels() {
#define ENTRY(NAME, KERNEL) {NAME, &kernels::KERNEL##_kernel},
    static constexpr KernelEntry entries[] = {KERNELS(ENTRY)};
    return {entries, sizeof entries / sizeof entries[0]};
}

}  // namespace penlight
