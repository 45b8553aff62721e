// What the two halves of verification share: the file (verify.cpp), one plan (verify_plan.cpp).
#pragma once

#include "program.h"

namespace penlight {

class Verifier {
  public:
    Verifier(penlight_program& program, penlight_error* error)
        : program_(program), buffer_(program.buffer), error_(error) {}

    Status run();

  private:
    // "[file.pte, method "forward", value 3] expected ..."; the place is set by enter().
    [[gnu::format(printf, 3, 4)]] Status fail(Status status, const char* format, ...);
    [[gnu::format(printf, 2, 3)]] Status bad(const char* format, ...);
    void enter(const char* item, size_t index) {
        item_ = item;
        index_ = index;
    }
    // Count items read. Tables that refer to the same lists again and again would take time out
    // of proportion to the file; honest ones read each byte about once.
    Status spend(size_t items);
    // An error if anything read so far lay outside the file.
    Status check_bounds();
    Status check_name(std::string_view name);

    Status check_segments();
    Status check_constants();
    Status check_offsets(Table list);
    Status check_named_data();
    Status sort_names();

    Status check_plan(Table plan);
    Status check_value(Table value);
    Status check_tensor(Table tensor);
    Status check_layout(Table tensor);
    Status check_storage(Table tensor);
    Status check_planned(Table tensor, Table allocation, const TensorShape& shape);
    Status check_constant(uint32_t index, const TensorShape& shape, size_t alignment);
    Status check_int_list(Table list);
    Status check_tensor_list(Table list, bool optional);
    Status check_index(int64_t index, size_t count, const char* what);
    Status check_value_indices(Vector<int32_t> indices, const char* what);
    Status check_inputs(Vector<int32_t> inputs);
    Status check_memory_sizes();
    Status check_operators();
    Status check_delegates();
    Status check_chain(Table chain, size_t index);
    Status check_instruction(Table instruction, uint32_t chain_length);

    penlight_program& program_;
    Flatbuffer buffer_;  // a copy of the program's, which reports faults
    penlight_error* error_;
    Fault fault_;
    Table root_;
    size_t budget_ = 0;
    const char* item_ = nullptr;
    size_t index_ = 0;

    // The plan being checked.
    Printable* method_ = nullptr;
    TableVector values_;
    TableVector operators_;
    TableVector delegates_;
    Vector<int64_t> memory_sizes_;
};

}  // namespace penlight
