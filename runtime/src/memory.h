// Memory and the arithmetic of sizes.
//
// Every size that stems from a file goes through checked_add and checked_mul, and every piece of
// memory through an allocator that may say no.
#pragma once

#include <cstddef>
#include <cstdint>

#include "penlight/penlight.h"

namespace penlight {

// a + b and a * b, or false when they do not fit.
template <class T> [[nodiscard]] bool checked_add(T a, T b, T* sum) {
    return !__builtin_add_overflow(a, b, sum);
}
template <class T> [[nodiscard]] bool checked_mul(T a, T b, T* product) {
    return !__builtin_mul_overflow(a, b, product);
}
// The next multiple of a power of two; the caller has ruled out overflow.
constexpr size_t align_up(size_t n, size_t alignment) {
    return (n + alignment - 1) & ~(alignment - 1);
}

// The system's allocator. Big blocks are reserved as address space whose pages are supplied,
// zeroed, as they are first touched; small ones come from the heap.
const penlight_allocator& system_allocator();
bool is_system_allocator(const penlight_allocator& allocator);

// A block of memory and the allocator it goes back to.
class Block {
  public:
    Block() = default;
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    ~Block() { release(); }

    // False when there is no memory, or on a size of more than half the address space.
    // Releases what was held before. A size of 0 gives an empty block.
    [[nodiscard]] bool allocate(const penlight_allocator& allocator, size_t size, size_t alignment,
                                bool zeroed);
    // Be the memory of another block, which must outlive this one.
    void borrow(const Block& owner);
    bool borrowed() const { return borrowed_; }
    // Back to all zeros, giving untouched pages back to the system where it is possible.
    void zero();
    void release();
    std::byte* data() const { return data_; }
    size_t size() const { return size_; }

  private:
    penlight_allocator allocator_{};
    std::byte* data_ = nullptr;
    size_t size_ = 0;
    bool borrowed_ = false;
};

}  // namespace penlight
