// What the machine allows: read bandwidth and int8 products, with the threads that methods use.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "penlight/penlight_profile.h"
#include "profile.h"
#include "runtime.h"

namespace penlight {
namespace {
constexpr int probe_groups = 128;  // with the widest vectors, 32 KiB of weights
struct ProbeCore {
    float (*read)(const float* from, int64_t count);
    float (*multiply)(const uint8_t* weights, const int8_t* activations, int64_t steps,
                      int64_t* done);
};
}  // namespace
}  // namespace penlight

#define PENLIGHT_TARGET_SOURCE "probe.simd.h"
#include "simd/for_each_target.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace penlight {
namespace {

constexpr size_t default_buffer = size_t{256} << 20;
constexpr int64_t piece = 1 << 20;  // bytes that a thread reads before it asks for more
constexpr int passes = 7;

struct Pass {
    const ProbeCore* core;
    const std::byte* buffer;
    int64_t pieces;
    int64_t steps;
    std::atomic<int64_t> done;
    std::atomic<float> sum;  // so that nothing is computed for nobody
};

void read_pieces(void* arg, int64_t begin, int64_t end) {
    auto& pass = *static_cast<Pass*>(arg);
    float sum = 0;
    for (int64_t i = begin; i < end; i++)
        sum += pass.core->read(reinterpret_cast<const float*>(pass.buffer + i * piece), piece / 4);
    pass.sum.store(sum, std::memory_order_relaxed);
    pass.done.fetch_add((end - begin) * piece, std::memory_order_relaxed);
}

void multiply_pieces(void* arg, int64_t begin, int64_t end) {
    auto& pass = *static_cast<Pass*>(arg);
    alignas(64) uint8_t weights[probe_groups * 4 * 64];
    alignas(64) int8_t activations[probe_groups * 4 * 4];
    for (size_t i = 0; i < sizeof weights; i++) weights[i] = static_cast<uint8_t>(i * 7 % 16);
    for (size_t i = 0; i < sizeof activations; i++)
        activations[i] = static_cast<int8_t>(static_cast<int>(i * 11 % 15) - 7);
    for (int64_t i = begin; i < end; i++) {
        int64_t done = 0;
        pass.sum.store(pass.core->multiply(weights, activations, pass.steps, &done),
                       std::memory_order_relaxed);
        pass.done.fetch_add(done, std::memory_order_relaxed);
    }
}

// What `body` has done, for each second.
double rate_of(ThreadPool& pool, ThreadPool::Body body, Pass& pass, double* seconds) {
    pass.done.store(0, std::memory_order_relaxed);
    const uint64_t began = clock_nanoseconds();
    pool.parallel_for(pass.pieces, 1, body, &pass);
    *seconds = static_cast<double>(clock_nanoseconds() - began + 1) * 1e-9;
    return static_cast<double>(pass.done.load(std::memory_order_relaxed)) / *seconds;
}

double median_rate(ThreadPool& pool, ThreadPool::Body body, Pass& pass) {
    double rates[passes], seconds = 0;
    rate_of(pool, body, pass, &seconds);
    for (double& rate : rates) rate = rate_of(pool, body, pass, &seconds);
    std::sort(rates, rates + passes);
    return rates[passes / 2];
}

Status measure(penlight_runtime& runtime, size_t size, penlight_probe* probe,
               penlight_error* error) {
    Block buffer;
    if (!buffer.allocate(runtime.allocator, size, 64, false))
        return report(error, Status::out_of_memory, "penlight_runtime_probe",
                      "expected %zu bytes of memory but got none; free some, or probe with less",
                      size);
#ifdef __linux__
    // Pages as large as they come: the memory is to be measured, not the search for its pages.
    const auto page = reinterpret_cast<uintptr_t>(buffer.data()) / 4096 * 4096 + 4096;
    if (size > 8192) (void)madvise(reinterpret_cast<void*>(page), size - 8192, MADV_HUGEPAGE);
#endif
    std::memset(buffer.data(), 0x3c, size);  // pages that are read only would all be the same one
    Pass pass{PENLIGHT_SELECT(runtime.isa, probe_core),
              buffer.data(),
              static_cast<int64_t>(size) / piece,
              16,
              {},
              {}};
    probe->threads = runtime.pool.threads();
    probe->read_bytes_per_second = median_rate(runtime.pool, read_pieces, pass);
    pass.pieces = int64_t{probe->threads} * 16;
    for (double seconds = 0; seconds < 2e-3 && pass.steps < 1 << 20; pass.steps *= 2)
        rate_of(runtime.pool, multiply_pieces, pass, &seconds);
    probe->multiply_adds_per_second = median_rate(runtime.pool, multiply_pieces, pass);
    return Status::ok;
}

}  // namespace
}  // namespace penlight

penlight_status penlight_runtime_probe(penlight_runtime* runtime, size_t buffer_bytes,
                                       penlight_probe* probe, penlight_error* error) {
    using penlight::Status;
    if (!runtime || !probe)
        return static_cast<penlight_status>(penlight::report(
            error, Status::invalid_argument, "penlight_runtime_probe",
            "expected a runtime and a place for the answer but got null; pass both"));
    size_t size = buffer_bytes ? buffer_bytes : penlight::default_buffer;
    if (size < penlight::piece || size > SIZE_MAX / 4)
        return static_cast<penlight_status>(penlight::report(
            error, Status::invalid_argument, "penlight_runtime_probe",
            "expected a buffer of 1 MiB or more but got %zu bytes; pass 0 for 256 MiB", size));
    penlight_probe measured{};
    Status status = penlight::measure(*runtime, size, &measured, error);
    if (status == Status::ok) *probe = measured;
    return static_cast<penlight_status>(status);
}
