// How a method is made from its plan; used by the load*.cpp files alone.
#pragma once

#include "method.h"

namespace penlight {

// The operator whose result shares the memory of its argument.
inline constexpr std::string_view view_operator = "executorch_prim::et_view";

// A list of known length that is being filled. draw() is null when it would not fit.
template <class T> struct Pool {
    T* next = nullptr;
    T* end = nullptr;
    T* draw(size_t count) {
        if (count > static_cast<size_t>(end - next)) return nullptr;
        T* first = next;
        next += count;
        return first;
    }
};

// Builds a method in two steps: its tables (what memory questions need), then its memory.
class Loader {
  public:
    Loader(penlight_method& method, penlight_error* error);
    Status build();     // values, instructions, checks, sizes
    Status allocate();  // arenas, state, delegates

  private:
    [[gnu::format(printf, 5, 6)]] Status fail(Status status, const char* item, size_t index,
                                              const char* format, ...);
    Status no_memory(size_t bytes, const char* what);
    void count();
    void count_value(Table value);
    void count_instruction(Table instruction);
    bool is_view_call(Table call) const;
    static bool is_state(Table tensor);
    static Table next_state(const penlight_method& method, uint32_t* index);
    Status share_state();
    Status share_memory(Table state, Table owned, uint32_t index);
    uint64_t lay_out(std::byte* base);
    Status reserve();
    Status make_values();
    Status make_value(uint32_t index);
    Status make_tensor(uint32_t index, Table table);
    template <class T> Status make_list(uint32_t index, Vector<T> items);
    Status make_numbers(uint32_t index, Vector<double> items);
    Status make_interface();
    void find_states();
    Status find_missing();
    Status make_instructions();
    Status make_instruction(Table table, Instruction* instruction);
    Status make_arguments(Vector<int32_t> indices, Instruction* instruction);
    void mark_unstable();
    void mark_results(const Instruction& call);
    void mark_lists();
    Status place_unplanned();
    Status check_instructions();
    Status check_kernel(const Instruction& instruction, size_t index);
    Status check_move(const Instruction& instruction, size_t index);
    Status size_scratch();
    Status make_delegates();
    Status make_delegate(Table table, uint32_t index);
    Status bind_memory();
    Status bind_planned(Tensor& tensor, Table allocation, uint32_t index);
    void bind_owned(const Value& value, Tensor& tensor, uint8_t flags);

    penlight_method& method_;
    penlight_error* error_;
    penlight_program& program_;
    TableVector values_;
    Pool<int64_t> dims_;
    Pool<uint8_t> orders_;
    Pool<Value*> pointers_;
    Pool<double> reals_;
    Pool<Tensor> tensors_;
    Pool<Instruction> instructions_;
};

}  // namespace penlight
