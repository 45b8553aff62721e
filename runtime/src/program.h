// A program: the bytes of a file, verified once, and how its parts are found in them.
//
// Everything here points into the file, which is mapped and never written. A program holds one
// reference to its runtime; methods hold one to the program.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "error.h"
#include "flatbuffer.h"
#include "memory.h"
#include "schema.h"

namespace penlight {

struct Bytes {
    const std::byte* data = nullptr;
    size_t size = 0;
};

// The bytes of a program: a mapping, a copy, or the caller's own.
class File {
  public:
    File() = default;
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File();

    // Map the file, or read it where there is no mapping. `label` names it in messages.
    Status open(const char* path, const char* label, const penlight_allocator& allocator,
                penlight_error* error);
    // Use the caller's bytes, or a copy if they are not aligned.
    Status borrow(const void* data, size_t size, const penlight_allocator& allocator,
                  penlight_error* error);
    Bytes bytes() const { return bytes_; }

  private:
    Status read_all(const char* path, const char* label, const penlight_allocator& allocator,
                    penlight_error* error);

    Bytes bytes_;
    Block copy_;
    bool mapped_ = false;
};

}  // namespace penlight

struct penlight_program {
    std::atomic<uint32_t> references{1};
    penlight_runtime* runtime = nullptr;  // holds a reference
    penlight::File file;
    char label[64] = "program";  // names the file in messages
    uint32_t depth = 0;          // how many delegates this program is nested in

    penlight::Bytes bytes;
    penlight::Flatbuffer buffer;
    penlight::Table root;
    size_t segment_base = 0;
    size_t segment_end = 0;
    penlight::Block sorted;               // memory of the two lists below
    uint32_t* methods_by_name = nullptr;  // indices of execution_plan, ordered by name
    uint32_t* named_by_key = nullptr;     // indices of named_data, ordered by key

    penlight::TableVector plans() const {
        return root.tables(penlight::schema::Program::execution_plan);
    }
    penlight::TableVector named_data() const {
        return root.tables(penlight::schema::Program::named_data);
    }
};

namespace penlight {

// open.cpp: read the header, verify, and give back a program with one reference.
Status open_program(penlight_runtime* runtime, const char* path, penlight_program** program,
                    penlight_error* error);
Status open_program_memory(penlight_runtime* runtime, const void* data, size_t size, uint32_t depth,
                           penlight_program** program, penlight_error* error);
void retain_program(penlight_program* program);
void release_program(penlight_program* program);

// verify.cpp: everything in the file that does not depend on kernels. Fills the sorted lists.
Status verify_program(penlight_program& program, penlight_error* error);

// Parts of a verified program. All results are inside the file; an absent part has data == null.
Bytes segment_bytes(const penlight_program& program, uint32_t index);
// The data of constant `index` (data_buffer_idx), up to the end of what holds it.
Bytes constant_bytes(const penlight_program& program, uint32_t index);
// The initial state `index` of the list of mutable data numbered `list`.
Bytes mutable_bytes(const penlight_program& program, uint64_t list, uint32_t index);
Bytes delegate_bytes(const penlight_program& program, Table reference);
// The plan of that name, or an absent table.
Table find_plan(const penlight_program& program, std::string_view name);
// What kind of value entry `index` of a plan is; NONE when there is no such entry.
schema::KernelTypes value_type(TableVector values, uint32_t index);

// The size of a tensor in the file.
struct TensorShape {
    uint32_t rank;
    int64_t numel;
    int64_t nbytes;
};
// False when the product does not fit; sizes of 0 count as 1 in that judgement.
bool shape_of(Table tensor, TensorShape* shape);

}  // namespace penlight
