// Compiles one source for every instruction set of the architecture, by function attribute.
//
//   #define PENLIGHT_TARGET_SOURCE "matrix.simd.h"
//   #include "simd/for_each_target.h"
//   ... PENLIGHT_SELECT(ctx.isa, function)(arguments) ...
//
// The source has no include guard and opens no namespace: it is included once per set inside
// namespace penlight::<set> and an unnamed namespace, after vec.h. Headers it needs are included
// by the file that includes this one, before it. It must not use lambdas in vector code: compilers
// disagree on whether they inherit the attribute.
//
// Defining PENLIGHT_TARGET_FLOAT_ONLY leaves out the sets that add only integer instructions; the
// functions are then picked with PENLIGHT_SELECT_FLOAT. Defining PENLIGHT_TARGET_WITH_BF16 adds the
// set that adds only products of bfloat16; what the source leaves in for it (it sees
// PENLIGHT_TARGET_AVX512BF16) is picked with PENLIGHT_SELECT_BF16.
#ifndef PENLIGHT_TARGET_SOURCE
#error "define PENLIGHT_TARGET_SOURCE first"
#endif

#include <cmath>
#include <cstdint>
#include <cstring>

#include "dtype.h"
#include "simd/target.h"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#elif defined(__wasm__)
#include <wasm_simd128.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own intrinsics hold deliberately undefined values, and it warns of them.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

// PENLIGHT_TARGET_* select the section of vec.h.
#define PENLIGHT_TARGET_SCALAR
namespace penlight::scalar {
namespace {
#include "simd/vec.h"
#include PENLIGHT_TARGET_SOURCE
}  // namespace
}  // namespace penlight::scalar
#undef PENLIGHT_TARGET_SCALAR

#if defined(__x86_64__)
#define PENLIGHT_TARGET_AVX2
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
namespace penlight::avx2 {
namespace {
#include "simd/vec.h"
#include PENLIGHT_TARGET_SOURCE
}  // namespace
}  // namespace penlight::avx2
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#ifndef PENLIGHT_TARGET_FLOAT_ONLY
#define PENLIGHT_TARGET_AVXVNNI
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avxvnni")
#endif
namespace penlight::avx2vnni {
namespace {
#include "simd/vec.h"
#include PENLIGHT_TARGET_SOURCE
}  // namespace
}  // namespace penlight::avx2vnni
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef PENLIGHT_TARGET_AVXVNNI
#endif
#undef PENLIGHT_TARGET_AVX2

#define PENLIGHT_TARGET_AVX512
#if defined(__clang__)
#pragma clang attribute push(                                                               \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#endif
namespace penlight::avx512vnni {
namespace {
#include "simd/vec.h"
#include PENLIGHT_TARGET_SOURCE
}  // namespace
}  // namespace penlight::avx512vnni
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#ifdef PENLIGHT_TARGET_WITH_BF16
#define PENLIGHT_TARGET_AVX512BF16
#if defined(__clang__)
#pragma clang attribute push(                                                               \
    __attribute__((                                                                         \
        target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")
#endif
namespace penlight::avx512bf16 {
namespace {
#include "simd/vec.h"
#include PENLIGHT_TARGET_SOURCE
}  // namespace
}  // namespace penlight::avx512bf16
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef PENLIGHT_TARGET_AVX512BF16
#endif
#undef PENLIGHT_TARGET_AVX512

#elif defined(__aarch64__)
#define PENLIGHT_TARGET_NEON
namespace penlight::neon {
namespace {
#include "simd/vec.h"
#include PENLIGHT_TARGET_SOURCE
}  // namespace
}  // namespace penlight::neon

#ifndef PENLIGHT_TARGET_FLOAT_ONLY
#define PENLIGHT_TARGET_DOTPROD
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
namespace penlight::dotprod {
namespace {
#include "simd/vec.h"
#include PENLIGHT_TARGET_SOURCE
}  // namespace
}  // namespace penlight::dotprod
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#define PENLIGHT_TARGET_I8MM
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod,i8mm"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod+i8mm")
#endif
namespace penlight::i8mm {
namespace {
#include "simd/vec.h"
#include PENLIGHT_TARGET_SOURCE
}  // namespace
}  // namespace penlight::i8mm
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef PENLIGHT_TARGET_I8MM
#undef PENLIGHT_TARGET_DOTPROD
#endif
#undef PENLIGHT_TARGET_NEON

#elif defined(__wasm__)
#define PENLIGHT_TARGET_WASM
#pragma clang attribute push(__attribute__((target("simd128"))), apply_to = function)
namespace penlight::wasm128 {
namespace {
#include "simd/vec.h"
#include PENLIGHT_TARGET_SOURCE
}  // namespace
}  // namespace penlight::wasm128
#pragma clang attribute pop
#undef PENLIGHT_TARGET_WASM
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#undef PENLIGHT_TARGET_SOURCE
#undef PENLIGHT_TARGET_FLOAT_ONLY
#undef PENLIGHT_TARGET_WITH_BF16
