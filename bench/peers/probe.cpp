// What the machine can do at most: probe THREADS -> {"threads": .., "read_gbs": .., "int8_tops":
// ..}
//
// read_gbs: threads sum 1 GiB between them, far more than any cache. int8_tops: dot products of
// bytes in registers, a multiplication and an addition counting two, summed in 16 bits on AVX2
// without such an instruction; 0 on other targets without. Medians of 7. Built by the runner with
// -O3 -march=native.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace {

constexpr size_t kBytes = size_t{1} << 30;
constexpr int kRuns = 7;
std::atomic<uint64_t> sink;

uint64_t sum(const uint64_t* values, size_t count) {
    uint64_t lanes[64] = {};  // [8 registers of 8]
    for (size_t i = 0; i + 64 <= count; i += 64) {
        for (size_t lane = 0; lane < 64; ++lane) lanes[lane] += values[i + lane];
    }
    uint64_t total = 0;
    for (uint64_t lane : lanes) total += lane;
    return total;
}

// Twelve sums that do not wait for each other; `OPERATION(sum)` is one instruction.
#define TWELVE(OPERATION)                                                                      \
    OPERATION(a)                                                                               \
    OPERATION(b)                                                                               \
    OPERATION(c) OPERATION(d) OPERATION(e) OPERATION(f) OPERATION(g) OPERATION(h) OPERATION(i) \
        OPERATION(j) OPERATION(k) OPERATION(l)

// Does `rounds` times twelve instructions; returns the operations done.
double dot_products(long rounds) {
#if defined(__AVX512VNNI__)
    constexpr int kLanes = 64;
    __m512i x = _mm512_set1_epi8(1), y = _mm512_set1_epi8(3);
    __m512i a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
#define STEP(s) asm volatile("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(x), "v"(y));
#elif defined(__AVXVNNI__)
    constexpr int kLanes = 32;
    __m256i x = _mm256_set1_epi8(1), y = _mm256_set1_epi8(3);
    __m256i a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
#define STEP(s) asm volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s) : "x"(x), "x"(y));
#elif defined(__AVX2__)
    constexpr int kLanes = 32;
    __m256i x = _mm256_set1_epi8(1), y = _mm256_set1_epi8(3);
    __m256i a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
#define STEP(s)                                                         \
    asm volatile("vpmaddubsw %2, %1, %%ymm15\n\tvpaddw %%ymm15, %0, %0" \
                 : "+x"(s)                                              \
                 : "x"(x), "x"(y)                                       \
                 : "ymm15");
#elif defined(__ARM_FEATURE_DOTPROD)
    constexpr int kLanes = 16;
    int8x16_t x = vdupq_n_s8(1), y = vdupq_n_s8(3);
    int32x4_t a = vdupq_n_s32(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a, i = a, j = a,
              k = a, l = a;
#define STEP(s) asm volatile("sdot %0.4s, %1.16b, %2.16b" : "+w"(s) : "w"(x), "w"(y));
#else
    return 0.0;
#endif
#ifdef STEP
    for (long round = 0; round < rounds; ++round) {
        TWELVE(STEP)
    }
    return 2.0 * 12 * kLanes * static_cast<double>(rounds);
#endif
}

// The median of kRuns of work(thread) on all threads at once, in units a second.
template <typename Work> double rate(unsigned threads, double units, Work work) {
    std::vector<double> seconds;
    for (int run = 0; run < kRuns; ++run) {
        std::atomic<unsigned> ready{0};
        std::vector<std::thread> pool;
        std::chrono::steady_clock::time_point begin;
        std::atomic<bool> go{false};
        for (unsigned thread = 0; thread < threads; ++thread) {
            pool.emplace_back([&, thread] {
                ++ready;
                while (!go) {
                }
                work(thread);
            });
        }
        while (ready < threads) {
        }
        begin = std::chrono::steady_clock::now();
        go = true;
        for (std::thread& each : pool) each.join();
        seconds.push_back(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    std::sort(seconds.begin(), seconds.end());
    return units / seconds[kRuns / 2];
}

}  // namespace

int main(int count, char** arguments) {
    const unsigned threads = count > 1 ? static_cast<unsigned>(std::atoi(arguments[1])) : 1;
    if (threads < 1 || threads > 1024) return 1;
    void* memory = std::aligned_alloc(size_t{1} << 21, kBytes);
    if (!memory) return 1;
#ifdef __linux__
    madvise(memory, kBytes, MADV_HUGEPAGE);
#endif
    auto* values = static_cast<uint64_t*>(memory);
    const size_t each = kBytes / sizeof(uint64_t) / threads;
    for (size_t i = 0; i < kBytes / sizeof(uint64_t); ++i) values[i] = i * 2654435761u;
    const double read = rate(threads, static_cast<double>(each * sizeof(uint64_t) * threads),
                             [&](unsigned thread) { sink += sum(values + each * thread, each); });
    constexpr long kRounds = 10'000'000;
    const double operations = dot_products(1) * static_cast<double>(kRounds) * threads;
    const double dots =
        operations > 0 ? rate(threads, operations, [](unsigned) { dot_products(kRounds); }) : 0.0;
    std::printf("{\"threads\": %u, \"read_gbs\": %.2f, \"int8_tops\": %.3f}\n", threads, read / 1e9,
                dots / 1e12);
    std::free(memory);
    return 0;
}
