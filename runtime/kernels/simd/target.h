// Which instruction set runs: known at compile time per copy of a kernel, chosen once at run time.
//
//   Isa isa;
//   if (choose_isa(getenv("PENLIGHT_ISA"), &isa, message, sizeof message) != Status::ok) ...
//
// A kernel's vector code is written once, in a file without include guard, and compiled for every
// instruction set of the architecture by for_each_target.h; select() then picks a copy by ctx.isa.
#pragma once

#include "kernel.h"

namespace penlight {

// Ordered within an architecture from the least to the most capable.
enum class Isa : uint8_t {
    scalar,      // plain C++: the reference
    avx2,        // AVX2, FMA, F16C
    avx2vnni,    // and AVX-VNNI (256-bit int8 dot products)
    avx512vnni,  // AVX-512 F, BW, DQ, VL and VNNI
    avx512bf16,  // and AVX512_BF16 (products of bfloat16)
    neon,        // Armv8.0 Advanced SIMD
    dotprod,     // and FEAT_DotProd (SDOT)
    i8mm,        // and FEAT_I8MM (SMMLA)
    wasm128,     // WebAssembly SIMD128
};
inline constexpr int isa_count = 9;

// The name PENLIGHT_ISA takes: "scalar", "avx2", "avx2vnni", "avx512vnni", "neon", ...
const char* isa_name(Isa isa);
// Compiled in, and offered by this processor and its operating system.
bool isa_supported(Isa isa);
// Whether memory is best asked for ahead into the nearest cache. Where it is not, it is asked for
// into the second one, and not at all where it lies in one piece, which the processor sees by
// itself. Asks the processor, which takes microseconds in a virtual machine.
bool prefetch_near();
// The most capable one that is supported.
Isa best_isa();
// `forced` names an instruction set ("avx512" is short for "avx512vnni"), or is null or empty for
// the best. A name that is unknown or not supported here gives invalid_argument, and one line in
// `message` that lists what is.
Status choose_isa(const char* forced, Isa* isa, char* message, size_t message_size);

}  // namespace penlight

// select(isa, f): the copy of function f that was compiled for isa, or for the most capable set
// below it that f was compiled for. PENLIGHT_SELECT_BF16 is for what was compiled for avx512bf16
// too.
#if defined(__x86_64__)
#define PENLIGHT_SELECT(isa, F)                                        \
    ((isa) >= ::penlight::Isa::avx512vnni ? &::penlight::avx512vnni::F \
     : (isa) == ::penlight::Isa::avx2vnni ? &::penlight::avx2vnni::F   \
     : (isa) == ::penlight::Isa::avx2     ? &::penlight::avx2::F       \
                                          : &::penlight::scalar::F)
#define PENLIGHT_SELECT_FLOAT(isa, F)                                  \
    ((isa) >= ::penlight::Isa::avx512vnni ? &::penlight::avx512vnni::F \
     : (isa) == ::penlight::Isa::scalar   ? &::penlight::scalar::F     \
                                          : &::penlight::avx2::F)
#define PENLIGHT_SELECT_BF16(isa, F)                                   \
    ((isa) == ::penlight::Isa::avx512bf16 ? &::penlight::avx512bf16::F \
                                          : PENLIGHT_SELECT_FLOAT(isa, F))
#elif defined(__aarch64__)
#define PENLIGHT_SELECT(isa, F)                                    \
    ((isa) == ::penlight::Isa::i8mm      ? &::penlight::i8mm::F    \
     : (isa) == ::penlight::Isa::dotprod ? &::penlight::dotprod::F \
     : (isa) == ::penlight::Isa::neon    ? &::penlight::neon::F    \
                                         : &::penlight::scalar::F)
#define PENLIGHT_SELECT_FLOAT(isa, F) \
    ((isa) == ::penlight::Isa::scalar ? &::penlight::scalar::F : &::penlight::neon::F)
#elif defined(__wasm__)
#define PENLIGHT_SELECT(isa, F) \
    ((isa) == ::penlight::Isa::scalar ? &::penlight::scalar::F : &::penlight::wasm128::F)
#define PENLIGHT_SELECT_FLOAT(isa, F) PENLIGHT_SELECT(isa, F)
#else
#define PENLIGHT_SELECT(isa, F) (static_cast<void>(isa), &::penlight::scalar::F)
#define PENLIGHT_SELECT_FLOAT(isa, F) PENLIGHT_SELECT(isa, F)
#endif
#ifndef PENLIGHT_SELECT_BF16
#define PENLIGHT_SELECT_BF16(isa, F) PENLIGHT_SELECT_FLOAT(isa, F)
#endif
