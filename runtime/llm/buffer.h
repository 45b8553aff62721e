// An array on the heap whose growth may fail: the language-model layer's only container.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

namespace penlight::llm {

template <class T> class Buffer {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { std::free(data_); }

    // False, and nothing changed, when there is no memory.
    [[nodiscard]] bool reserve(size_t capacity) {
        if (capacity <= capacity_) return true;
        size_t doubled = capacity_ < SIZE_MAX / 2 ? capacity_ * 2 : capacity;
        size_t wanted = doubled > capacity ? doubled : capacity;
        if (wanted > SIZE_MAX / sizeof(T)) return false;
        void* grown = std::realloc(data_, wanted * sizeof(T));
        if (!grown) return false;
        data_ = static_cast<T*>(grown);
        capacity_ = wanted;
        return true;
    }
    // New elements are zero.
    [[nodiscard]] bool resize(size_t size) {
        if (!reserve(size)) return false;
        if (size > size_) std::memset(data_ + size_, 0, (size - size_) * sizeof(T));
        size_ = size;
        return true;
    }
    [[nodiscard]] bool append(const T* items, size_t count) {
        if (count > SIZE_MAX - size_ || !reserve(size_ + count)) return false;
        if (count) std::memcpy(data_ + size_, items, count * sizeof(T));
        size_ += count;
        return true;
    }
    [[nodiscard]] bool push(T item) { return append(&item, 1); }
    void shrink(size_t size) { size_ = size < size_ ? size : size_; }
    void erase_front(size_t count) {
        if (count && count < size_) {
            std::memmove(data_, data_ + count, (size_ - count) * sizeof(T));
        }
        size_ -= count;
    }

    T* data() { return data_; }
    const T* data() const { return data_; }
    size_t size() const { return size_; }
    T& operator[](size_t i) { return data_[i]; }
    const T& operator[](size_t i) const { return data_[i]; }

  private:
    T* data_ = nullptr;
    size_t size_ = 0;
    size_t capacity_ = 0;
};

}  // namespace penlight::llm
