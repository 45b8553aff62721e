// The one table of built-in kernels, made from kernels.inc.
#include "kernel.h"

namespace penlight {

namespace kernels {
#define PENLIGHT_KERNEL(NAME, FUNCTION) extern const BoxedKernel FUNCTION##_kernel;
#include "kernels.inc"
#undef PENLIGHT_KERNEL
}  // namespace kernels

namespace {
#define PENLIGHT_KERNEL(NAME, FUNCTION) {NAME, &kernels::FUNCTION##_kernel},
constexpr KernelEntry entries[] = {
#include "kernels.inc"
};
#undef PENLIGHT_KERNEL
}  // namespace

KernelTable builtin_kernels() { return {entries, sizeof entries / sizeof entries[0]}; }

}  // namespace penlight
