// A bounds-checked reader of flatbuffers.
//
//   Flatbuffer buffer{bytes, size, &fault};
//   Table program = buffer.root();
//   for (Table plan : program.tables(schema::Program::execution_plan)) {
//       std::string_view name = plan.string(schema::ExecutionPlan::name);   // data() null: absent
//       ...
//   }
//   if (fault.what) ...   // something lay outside the buffer; what was read instead is "absent"
//
// Nothing outside [bytes, bytes + size) is ever read, whatever the bytes are. A field that is
// absent and one that is out of bounds read alike; the second is recorded in `fault` (the first
// one only), so a whole-file check reads everything once and then looks there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace penlight {

// The first thing found out of bounds: where it was referred to, and what it should have been.
struct Fault {
    const char* what = nullptr;
    size_t position = 0;
};

struct Flatbuffer;
struct Table;

// A vector of numbers. Not present when the field is absent.
template <class T> struct Vector {
    const std::byte* data = nullptr;
    uint32_t count = 0;

    bool present() const { return data != nullptr; }
    uint32_t size() const { return count; }
    T operator[](uint32_t i) const {
        T item;
        std::memcpy(&item, data + size_t{i} * sizeof(T), sizeof(T));
        return item;
    }
};

struct TableVector {
    const Flatbuffer* buffer = nullptr;
    size_t position = 0;  // of the first offset
    uint32_t count = 0;

    bool present() const { return buffer != nullptr; }
    uint32_t size() const { return count; }
    inline Table operator[](uint32_t i) const;
};

struct Flatbuffer {
    const std::byte* bytes = nullptr;
    size_t size = 0;
    Fault* fault = nullptr;  // may be null: nothing is recorded

    void blame(const char* what, size_t position) const {
        if (fault && !fault->what) *fault = {what, position};
    }
    bool holds(size_t position, size_t length) const {
        return position <= size && length <= size - position;
    }
    // The caller has checked the bounds.
    template <class T> T read(size_t position) const {
        T value;
        std::memcpy(&value, bytes + position, sizeof value);
        return value;
    }
    inline Table root() const;
    inline Table table_at(size_t position) const;
    // Follow the offset stored at `position`, which is inside the buffer; 0 if it leaves it.
    size_t follow(size_t position) const {
        size_t target = position + read<uint32_t>(position);
        if (holds(target, 4) && target > position) return target;
        blame("an offset inside the file", position);
        return 0;
    }
};

struct Table {
    const Flatbuffer* buffer = nullptr;
    size_t position = 0;
    size_t vtable = 0;
    uint16_t vtable_size = 0;
    uint16_t object_size = 0;

    bool present() const { return buffer != nullptr; }
    // Where the field lies, or 0 when it is absent.
    size_t find(uint16_t field, size_t width) const {
        if (!buffer || size_t{field} + 2 > vtable_size) return 0;
        auto offset = buffer->read<uint16_t>(vtable + field);
        if (offset == 0) return 0;
        if (offset >= 4 && offset + width <= object_size) return position + offset;
        buffer->blame("a field inside its table", vtable + field);
        return 0;
    }
    bool has(uint16_t field) const { return find(field, 1) != 0; }
    template <class T> T get(uint16_t field, T missing = {}) const {
        size_t at = find(field, sizeof(T));
        return at ? buffer->read<T>(at) : missing;
    }
    Table table(uint16_t field) const {
        size_t target = target_of(field);
        return target ? buffer->table_at(target) : Table{};
    }
    template <class T> Vector<T> vector(uint16_t field) const {
        uint32_t count = 0;
        size_t first = items_of(field, sizeof(T), &count);
        if (!first) return {};
        return {buffer->bytes + first, count};
    }
    TableVector tables(uint16_t field) const {
        uint32_t count = 0;
        size_t first = items_of(field, sizeof(uint32_t), &count);
        if (!first) return {};
        return {buffer, first, count};
    }
    // Followed by a terminator in the file; data() is null when the field is absent.
    std::string_view string(uint16_t field) const {
        uint32_t count = 0;
        size_t first = items_of(field, 1, &count);
        if (!first) return {};
        if (!buffer->holds(first + count, 1) || buffer->bytes[first + count] != std::byte{0}) {
            buffer->blame("a string that ends in a zero byte", first);
            return {};
        }
        return {reinterpret_cast<const char*>(buffer->bytes + first), count};
    }

  private:
    size_t target_of(uint16_t field) const {
        size_t at = find(field, sizeof(uint32_t));
        return at ? buffer->follow(at) : 0;
    }
    size_t items_of(uint16_t field, size_t item_size, uint32_t* count) const {
        size_t target = target_of(field);
        if (!target) return 0;
        *count = buffer->read<uint32_t>(target);
        if (*count <= (buffer->size - target - 4) / item_size) return target + 4;
        buffer->blame("a list that ends inside the file", target);
        *count = 0;
        return 0;
    }
};

inline Table Flatbuffer::table_at(size_t at) const {
    if (!holds(at, 4)) {
        blame("a table inside the file", at);
        return {};
    }
    int64_t vtable = static_cast<int64_t>(at) - read<int32_t>(at);
    if (vtable < 0 || !holds(static_cast<size_t>(vtable), 4)) {
        blame("a vtable inside the file", at);
        return {};
    }
    auto start = static_cast<size_t>(vtable);
    auto vtable_size = read<uint16_t>(start);
    auto object_size = read<uint16_t>(start + 2);
    if (vtable_size < 4 || vtable_size % 2 != 0 || !holds(start, vtable_size) || object_size < 4 ||
        !holds(at, object_size)) {
        blame("a table and its vtable inside the file", at);
        return {};
    }
    return {this, at, start, vtable_size, object_size};
}

inline Table Flatbuffer::root() const {
    if (!holds(0, 8)) {
        blame("a root offset", 0);
        return {};
    }
    size_t target = follow(0);
    return target ? table_at(target) : Table{};
}

inline Table TableVector::operator[](uint32_t i) const {
    size_t target = buffer->follow(position + size_t{i} * sizeof(uint32_t));
    return target ? buffer->table_at(target) : Table{};
}

}  // namespace penlight
