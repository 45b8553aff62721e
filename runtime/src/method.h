// A loaded method: values, a flat list of instructions, and the memory they work in.
//
// All tables lie in one block whose size is counted beforehand, so memory needed is known before
// anything big is allocated, and nothing is allocated while the method runs.
//
// What keeps a hostile program harmless once it runs: a value's tag and a tensor's memory are
// known at load, and arguments are checked then against the kernel's parameters. Values for which
// that may change later (results of moves, of symbolic arithmetic and of views, inputs bound to
// the caller's memory) are marked unstable, and instructions that use one are checked again each
// time they run.
#pragma once

#include <atomic>

#include "profile.h"
#include "program.h"
#include "runtime.h"

namespace penlight {

enum class InstructionKind : uint8_t { kernel, delegate, move, jump_false, nothing };

struct Instruction {
    InstructionKind kind;
    bool recheck;    // an argument is unstable
    uint32_t count;  // of args
    Value** args;    // kernel, delegate: arguments; move: from, to; jump: condition
    union {
        const KernelRecord* kernel;
        uint32_t delegate;
        uint32_t destination;
    };
};

struct Chain {
    Instruction* instructions;
    uint32_t count;
};

struct Delegate {
    const penlight_delegate* table;
    void* handle;
    bool ready;  // init has succeeded, so destroy is due
};

// What the caller gave for one input, until it is used by execute.
struct Input {
    Value* value;
    Tensor* tensor;  // null when it is no tensor
    bool planned;    // it has memory of its own, into which the caller's data is copied
    bool given;      // since the last execute; other values than tensors stay
    bool direct;     // the caller's memory is used as it is
    const void* data;
    size_t capacity;
    int64_t sizes[PENLIGHT_MAX_RANK];
    int64_t strides[PENLIGHT_MAX_RANK];
    Block staging;  // for data of another layout than the tensor's
};

struct Output {
    Value* value;
    Tensor* owned;  // the tensor when its memory is `own_data`, which may be replaced
    std::byte* own_data;
    size_t own_size;
    void* user_data;  // copied to after execute when the tensor is not owned
    size_t user_size;
};

// A tensor whose place or memory instructions change, and what it is put back to before each run.
struct Restore {
    Value* value;
    Tensor* tensor;
    void* data;  // null for a view, which gets its memory when it is made
    size_t capacity;
};

// How many of each thing a plan needs.
struct Counts {
    size_t values, tensors, dims, pointers, reals, instructions, chains, inputs, outputs, delegates,
        arenas, restores, states;
};

// Flags of a value.
inline constexpr uint8_t unstable = 1;
inline constexpr uint8_t is_input = 2;
inline constexpr uint8_t is_view = 4;   // given memory by et_view
inline constexpr uint8_t is_moved = 8;  // written by a move

}  // namespace penlight

struct penlight_method {
    std::atomic<uint32_t> references{1};
    std::atomic<bool> running{false};
    penlight_program* program = nullptr;  // holds a reference
    penlight_method* owner = nullptr;     // whose state it works on, and to which it holds a
                                          // reference; null: its own
    penlight_allocator allocator{};
    penlight::Table plan;
    char label[128] = "";  // for messages
    uint32_t max_threads = 1;

    penlight::Block structures;
    penlight::Counts counts{};
    penlight::Value* values = nullptr;
    uint8_t* flags = nullptr;            // [values]
    penlight::Value* nothing = nullptr;  // what an absent item of a list points to
    penlight::Tensor* tensors = nullptr;
    penlight::Chain* chains = nullptr;
    penlight::Input* inputs = nullptr;
    penlight::Output* outputs = nullptr;
    penlight::Delegate* delegates = nullptr;
    penlight::Restore* restores = nullptr;
    size_t restore_count = 0;
    penlight::Tensor** states = nullptr;  // tensors kept between runs
    size_t state_count = 0;
    penlight::Block* arenas = nullptr;  // [non_const_buffer_sizes], the first unused
    penlight::Block unplanned;          // tensors to which the file gives no memory
    penlight::Block scratch;
    size_t unplanned_size = 0;
    size_t scratch_size = 0;
    penlight::Profile profile;
    penlight_context context{};
};

namespace penlight {

// Does the value fit the parameter? With `memory`, its tensors must have memory too.
bool accepts(Parameter parameter, const Value& value, bool memory);
// Every tensor in it has memory, or no elements.
bool has_memory(const Value& value);
// From the sizes and dim_order, without gaps.
void set_strides(Tensor& tensor);
const char* tag_name(penlight_tag tag);
const char* kind_name(Kind kind);

// The method whose state this one works on, and whose flag says that one of them is running.
inline penlight_method& state_owner(penlight_method& method) {
    return method.owner ? *method.owner : method;
}
// Mutable state as the file says; the arenas are zero.
void initialise_state(penlight_method& method);

// execute.cpp, inputs.cpp
Status execute_method(penlight_method& method, penlight_error* error);
Status set_input(penlight_method& method, size_t index, const Value& value, penlight_error* error);
Status set_input_tensor(penlight_method& method, size_t index, const penlight_tensor& tensor,
                        penlight_error* error);
// Memory to lay out anew whatever inputs may come, so that set_input allocates nothing.
Status reserve_staging(penlight_method& method, penlight_error* error);
Status set_output_data(penlight_method& method, size_t index, void* data, size_t size,
                       penlight_error* error);
// Elements of one shape and dtype from any layout to any other.
void copy_tensor(Tensor& to, const Tensor& from);
Status bind_inputs(penlight_method& method, penlight_error* error);
Status deliver_outputs(penlight_method& method, penlight_error* error);

// load.cpp
Status load_method(penlight_program* program, const char* name, const penlight_allocator* allocator,
                   penlight_method* owner, penlight_method** out, penlight_error* error);
Status measure_method(penlight_program* program, const char* name, penlight_memory_info* info,
                      penlight_error* error);
void free_method(penlight_method* method);

}  // namespace penlight
