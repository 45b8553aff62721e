// The kernels that the programs use, instead of the whole table: a sanitized build takes its time.
#include "kernel.h"

namespace penlight {

namespace kernels {
extern const BoxedKernel add_out_kernel, et_view_kernel, sym_size_int_kernel, prim_truediv_kernel;
}

KernelTable builtin_kernels() {
    static constexpr KernelEntry entries[] = {
        {"aten::add.out", &kernels::add_out_kernel},
        {"aten::sym_size.int", &kernels::sym_size_int_kernel},
        {"executorch_prim::et_view.default", &kernels::et_view_kernel},
        {"executorch_prim::truediv.Scalar", &kernels::prim_truediv_kernel},
    };
    return {entries, sizeof entries / sizeof entries[0]};
}

}  // namespace penlight
