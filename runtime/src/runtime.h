// The runtime: what all programs share. Kernels and delegates in one table each, and the pool.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "error.h"
#include "memory.h"
#include "threads.h"

namespace penlight {

// A kernel as load finds it, built in (boxed) or the caller's (run).
struct KernelRecord {
    const char* name;
    const char* signature;
    const Parameter* parameters;
    uint32_t parameter_count;
    const BoxedKernel* boxed;
    penlight_status (*run)(penlight_context*, penlight_value* const*, uint32_t);
};

// delegates.cpp: "reference" and "null".
struct DelegateTable {
    const penlight_delegate* entries;
    size_t count;
};
DelegateTable builtin_delegates();

// registry.cpp: one block with all records, their signatures and parameters.
struct Registry {
    Block memory;
    KernelRecord* kernels = nullptr;
    size_t kernel_count = 0;
    penlight_delegate* delegates = nullptr;
    size_t delegate_count = 0;

    Status make(const penlight_runtime_options& options, const penlight_allocator& allocator,
                penlight_error* error);
    // Null when there is none of that name.
    const KernelRecord* find_kernel(std::string_view name, std::string_view overload) const;
    const penlight_delegate* find_delegate(std::string_view id) const;
};

}  // namespace penlight

struct penlight_runtime {
    std::atomic<uint32_t> references{1};
    penlight_allocator allocator{};
    penlight::Isa isa{};
    bool prefetch_near = true;  // as the function of that name has it
    penlight::ThreadPool pool;
    penlight::Registry registry;
};

namespace penlight {

void retain_runtime(penlight_runtime* runtime);
void release_runtime(penlight_runtime* runtime);

// Objects of the runtime live in memory of its allocator.
template <class T> T* make_object(const penlight_allocator& allocator) {
    constexpr size_t alignment = alignof(T) < 16 ? 16 : alignof(T);
    void* memory = allocator.allocate(allocator.context, sizeof(T), alignment);
    return memory ? ::new (memory) T() : nullptr;
}
template <class T> void destroy_object(penlight_allocator allocator, T* object) {
    object->~T();
    allocator.release(allocator.context, object, sizeof(T));
}

}  // namespace penlight
