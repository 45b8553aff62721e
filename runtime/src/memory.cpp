#include "memory.h"

#include <cstdlib>
#include <cstring>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#define PENLIGHT_HAS_MMAP 1
#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif
#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif
#endif
#if defined(__EMSCRIPTEN__)
#undef PENLIGHT_HAS_MMAP
#endif

namespace penlight {

namespace {

constexpr size_t large = 1 << 20;  // from here on a block is a mapping of its own

void* system_allocate(void*, size_t size, size_t alignment) {
#ifdef PENLIGHT_HAS_MMAP
    if (size >= large) {
        void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        return memory == MAP_FAILED ? nullptr : memory;
    }
#endif
    if (alignment < sizeof(void*)) alignment = sizeof(void*);
    size_t rounded = align_up(size, alignment);
#if defined(_WIN32)
    void* memory = _aligned_malloc(rounded, alignment);
#else
    void* memory = std::aligned_alloc(alignment, rounded);
#endif
    if (memory) std::memset(memory, 0, rounded);
    return memory;
}

void system_release(void*, void* pointer, [[maybe_unused]] size_t size) {
#ifdef PENLIGHT_HAS_MMAP
    if (size >= large) {
        munmap(pointer, size);
        return;
    }
#endif
#if defined(_WIN32)
    _aligned_free(pointer);
#else
    std::free(pointer);
#endif
}

constexpr penlight_allocator the_system_allocator{nullptr, system_allocate, system_release};

}  // namespace

const penlight_allocator& system_allocator() { return the_system_allocator; }

bool is_system_allocator(const penlight_allocator& allocator) {
    return allocator.allocate == system_allocate;
}

bool Block::allocate(const penlight_allocator& allocator, size_t size, size_t alignment,
                     bool zeroed) {
    release();
    if (size == 0) return true;
    if (size > SIZE_MAX / 2) return false;
    void* memory = allocator.allocate(allocator.context, size, alignment);
    if (!memory) return false;
    if (reinterpret_cast<uintptr_t>(memory) % alignment != 0) {
        allocator.release(allocator.context, memory, size);
        return false;
    }
    allocator_ = allocator;
    data_ = static_cast<std::byte*>(memory);
    size_ = size;
    if (zeroed && !is_system_allocator(allocator)) std::memset(data_, 0, size_);
    return true;
}

void Block::zero() {
    if (size_ == 0) return;
#if defined(PENLIGHT_HAS_MMAP) && defined(__linux__)
    // On Linux, and only there, this promises zeros on the next touch of a private mapping.
    if (is_system_allocator(allocator_) && size_ >= large &&
        madvise(data_, size_, MADV_DONTNEED) == 0)
        return;
#endif
    std::memset(data_, 0, size_);
}

void Block::borrow(const Block& owner) {
    release();
    allocator_ = owner.allocator_;
    data_ = owner.data_;
    size_ = owner.size_;
    borrowed_ = true;
}

void Block::release() {
    if (data_ && !borrowed_) allocator_.release(allocator_.context, data_, size_);
    data_ = nullptr;
    size_ = 0;
    borrowed_ = false;
}

}  // namespace penlight
