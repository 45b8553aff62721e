#include "simd/target.h"

#include <cstdio>
#include <cstring>

#include "kernel.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace penlight {
namespace {

constexpr const char* names[isa_count] = {
    "scalar", "avx2", "avx2vnni", "avx512vnni", "avx512bf16", "neon", "dotprod", "i8mm", "wasm128"};

#if defined(__x86_64__)
// XCR0: which registers the operating system saves (Intel SDM vol. 1, 13.3).
uint64_t saved_register_state() {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (static_cast<uint64_t>(high) << 32) | low;
}

bool x86_supports(Isa isa) {
    constexpr uint32_t fma = 1u << 12, osxsave = 1u << 27, f16c = 1u << 29;  // leaf 1 ecx
    constexpr uint32_t avx2 = 1u << 5;                                       // leaf 7 ebx
    constexpr uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;   // F DQ BW VL
    constexpr uint32_t avx512_vnni = 1u << 11;                               // leaf 7 ecx
    constexpr uint32_t avx_vnni = 1u << 4, avx512_bf16 = 1u << 5;            // leaf 7.1 eax
    constexpr uint64_t ymm_state = 0x6, zmm_state = 0xe6;
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
    if ((c & (fma | osxsave | f16c)) != (fma | osxsave | f16c)) return false;
    uint64_t saved = saved_register_state();
    if ((saved & ymm_state) != ymm_state) return false;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & avx2)) return false;
    if (isa == Isa::avx2) return true;
    if (isa >= Isa::avx512vnni &&
        ((b & avx512) != avx512 || !(c & avx512_vnni) || (saved & zmm_state) != zmm_state))
        return false;
    if (isa == Isa::avx512vnni) return true;
    if (a < 1 || !__get_cpuid_count(7, 1, &a, &b, &c, &d)) return false;
    return a & (isa == Isa::avx512bf16 ? avx512_bf16 : avx_vnni);
}
#endif

#if defined(__aarch64__)
bool arm_supports(Isa isa) {
    if (isa == Isa::neon) return true;
#if defined(__linux__)
    constexpr unsigned long asimddp = 1ul << 20, i8mm = 1ul << 13;  // HWCAP, HWCAP2
    if (!(getauxval(AT_HWCAP) & asimddp)) return false;
    return isa == Isa::dotprod || (getauxval(AT_HWCAP2) & i8mm);
#elif defined(__APPLE__)
    auto has = [](const char* key) {
        int value = 0;
        size_t size = sizeof value;
        return sysctlbyname(key, &value, &size, nullptr, 0) == 0 && value != 0;
    };
    if (!has("hw.optional.arm.FEAT_DotProd")) return false;
    return isa == Isa::dotprod || has("hw.optional.arm.FEAT_I8MM");
#else
    return false;
#endif
}
#endif

}  // namespace

const char* isa_name(Isa isa) { return names[static_cast<int>(isa)]; }

bool isa_supported(Isa isa) {
    if (isa == Isa::scalar) return true;
#if defined(__x86_64__)
    return isa <= Isa::avx512bf16 && x86_supports(isa);
#elif defined(__aarch64__)
    return isa >= Isa::neon && isa <= Isa::i8mm && arm_supports(isa);
#elif defined(__wasm__)
    return isa == Isa::wasm128;
#else
    return false;
#endif
}

bool prefetch_near() {
#if defined(__x86_64__)
    // Zen 4 (family 19h, with AVX-512) tracks fewer misses of the nearest cache than it takes.
    constexpr uint32_t avx512f = 1u << 16;
    uint32_t a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_AMD_ebx) return true;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (a >> 8 & 15) + (a >> 20 & 255) != 0x19) return true;
    return !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & avx512f);
#else
    return true;
#endif
}

Isa best_isa() {
    for (int i = isa_count - 1; i > 0; i--)
        if (isa_supported(static_cast<Isa>(i))) return static_cast<Isa>(i);
    return Isa::scalar;
}

Status choose_isa(const char* forced, Isa* isa, char* message, size_t message_size) {
    if (!forced || !*forced) {
        *isa = best_isa();
        return Status::ok;
    }
    if (!strcmp(forced, "avx512")) forced = "avx512vnni";
    char supported[96] = "";
    for (int i = 0; i < isa_count; i++) {
        if (!isa_supported(static_cast<Isa>(i))) continue;
        if (!strcmp(forced, names[i])) {
            *isa = static_cast<Isa>(i);
            return Status::ok;
        }
        size_t used = strlen(supported);
        snprintf(supported + used, sizeof supported - used, "%s%s", used ? ", " : "", names[i]);
    }
    snprintf(message, message_size,
             "[PENLIGHT_ISA] expected one of %s (what this processor can run) but got \"%.32s\"; "
             "unset it to let the best be chosen",
             supported, forced);
    return Status::invalid_argument;
}

}  // namespace penlight
