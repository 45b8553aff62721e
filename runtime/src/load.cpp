// Loading a method, first part: how big its tables are, and the order of the steps.
#include "load.h"

#include <cstdarg>
#include <cstdio>
#include <new>

namespace penlight {

Loader::Loader(penlight_method& method, penlight_error* error)
    : method_(method),
      error_(error),
      program_(*method.program),
      values_(method.plan.tables(schema::ExecutionPlan::values)) {}

Status Loader::fail(Status status, const char* item, size_t index, const char* format, ...) {
    char message[400], place[200];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    std::snprintf(place, sizeof place, "%s, %s %zu", method_.label, item, index);
    return report(error_, status, place, "%s", message);
}

Status Loader::no_memory(size_t bytes, const char* what) {
    return report(error_, Status::out_of_memory, method_.label,
                  "expected %zu bytes of memory for %s but got none; free some, or export with "
                  "smaller bounds in dynamic_shapes",
                  bytes, what);
}

Status Loader::build() {
    count();
    PENLIGHT_TRY(reserve());
    PENLIGHT_TRY(make_values());
    PENLIGHT_TRY(make_interface());
    find_states();
    PENLIGHT_TRY(find_missing());
    PENLIGHT_TRY(make_instructions());
    mark_unstable();
    PENLIGHT_TRY(place_unplanned());
    PENLIGHT_TRY(check_instructions());
    return size_scratch();
}

// A tensor with memory of its own whose contents the file gives, or that it names.
bool Loader::is_state(Table tensor) {
    if (!tensor.has(schema::Tensor::allocation_info)) return false;
    if (tensor.get<uint32_t>(schema::Tensor::data_buffer_idx) != 0) return true;
    Table extra = tensor.table(schema::Tensor::extra_tensor_info);
    return !extra.string(schema::ExtraTensorInfo::fully_qualified_name).empty();
}

void Loader::count_value(Table value) {
    Counts& counts = method_.counts;
    auto type = static_cast<schema::KernelTypes>(value.get<uint8_t>(schema::EValue::val_type));
    Table body = value.table(schema::EValue::val);
    switch (type) {
        case schema::KernelTypes::Tensor:
            counts.tensors++;
            counts.states += is_state(body) ? 1 : 0;
            counts.dims += body.vector<int32_t>(schema::Tensor::sizes).size();
            break;
        case schema::KernelTypes::IntList:
            counts.pointers += body.vector<int64_t>(schema::IntList::items).size();
            break;
        case schema::KernelTypes::TensorList:
        case schema::KernelTypes::OptionalTensorList:
            counts.pointers += body.vector<int32_t>(schema::TensorList::items).size();
            break;
        case schema::KernelTypes::DoubleList:
            counts.reals += body.vector<double>(schema::DoubleList::items).size();
            break;
        default: break;
    }
}

void Loader::count() {
    using Plan = schema::ExecutionPlan;
    Counts& counts = method_.counts;
    counts.values = values_.size();
    for (uint32_t i = 0; i < values_.size(); i++) count_value(values_[i]);
    counts.inputs = method_.plan.vector<int32_t>(Plan::inputs).size();
    counts.outputs = method_.plan.vector<int32_t>(Plan::outputs).size();
    counts.delegates = method_.plan.tables(Plan::delegates).size();
    counts.arenas = method_.plan.vector<int64_t>(Plan::non_const_buffer_sizes).size();
    TableVector chains = method_.plan.tables(Plan::chains);
    counts.chains = chains.size();
    for (uint32_t c = 0; c < chains.size(); c++) {
        TableVector list = chains[c].tables(schema::Chain::instructions);
        counts.instructions += list.size();
        for (uint32_t i = 0; i < list.size(); i++) count_instruction(list[i]);
    }
}

void Loader::count_instruction(Table instruction) {
    Counts& counts = method_.counts;
    auto kind = static_cast<schema::InstructionArguments>(
        instruction.get<uint8_t>(schema::Instruction::instr_args_type));
    Table body = instruction.table(schema::Instruction::instr_args);
    // The fields of the two calls have the same place.
    static_assert(schema::KernelCall::args == schema::DelegateCall::args);
    switch (kind) {
        case schema::InstructionArguments::KernelCall:
            counts.restores += is_view_call(body) ? 1 : 0;
            [[fallthrough]];
        case schema::InstructionArguments::DelegateCall:
            counts.pointers += body.vector<int32_t>(schema::KernelCall::args).size();
            break;
        case schema::InstructionArguments::MoveCall:
            counts.restores++;
            counts.pointers += 2;
            break;
        case schema::InstructionArguments::JumpFalseCall: counts.pointers++; break;
        default: break;
    }
}

bool Loader::is_view_call(Table call) const {
    TableVector operators = method_.plan.tables(schema::ExecutionPlan::operators);
    auto index = static_cast<uint32_t>(call.get<int32_t>(schema::KernelCall::op_index));
    return index < operators.size() &&
           operators[index].string(schema::Operator::name) == view_operator;
}

namespace {

// Lays arrays one after the other, first to learn the total (base null), then for good.
struct Layout {
    std::byte* base;
    uint64_t used = 0;

    template <class T> T* take(uint64_t count) {
        std::byte* at = base ? base + used : nullptr;
        used += (count * sizeof(T) + 15) / 16 * 16;
        for (uint64_t i = 0; at && i < count; i++) ::new (at + i * sizeof(T)) T{};
        return reinterpret_cast<T*>(at);
    }
    template <class T> void fill(Pool<T>* pool, uint64_t count) {
        T* first = take<T>(count);
        *pool = {first, first ? first + count : nullptr};
    }
};

}  // namespace

uint64_t Loader::lay_out(std::byte* base) {
    const Counts& counts = method_.counts;
    Layout layout{base};
    method_.arenas = layout.take<Block>(counts.arenas);
    method_.inputs = layout.take<Input>(counts.inputs);
    method_.outputs = layout.take<Output>(counts.outputs);
    method_.delegates = layout.take<Delegate>(counts.delegates);
    method_.chains = layout.take<Chain>(counts.chains);
    method_.restores = layout.take<Restore>(counts.restores);
    method_.states = layout.take<Tensor*>(counts.states);
    method_.values = layout.take<Value>(counts.values);
    method_.nothing = layout.take<Value>(1);
    method_.flags = layout.take<uint8_t>(counts.values);
    method_.tensors = layout.take<Tensor>(counts.tensors);
    tensors_ = {method_.tensors, method_.tensors ? method_.tensors + counts.tensors : nullptr};
    layout.fill(&instructions_, counts.instructions);
    layout.fill(&dims_, 3 * uint64_t{counts.dims});
    layout.fill(&orders_, counts.dims);
    layout.fill(&pointers_, counts.pointers);
    layout.fill(&reals_, counts.reals);
    return layout.used;
}

Status Loader::reserve() {
    uint64_t bytes = lay_out(nullptr);
    if (bytes > SIZE_MAX / 2 ||
        !method_.structures.allocate(method_.allocator, static_cast<size_t>(bytes), 16, false))
        return no_memory(static_cast<size_t>(bytes), "the method's tables");
    lay_out(method_.structures.data());
    return Status::ok;
}

namespace {

Status make_method(penlight_program* program, const char* name, const penlight_allocator* allocator,
                   penlight_method** out, penlight_error* error) {
    Table plan = find_plan(*program, name);
    if (!plan.present()) {
        TableVector plans = program->plans();
        std::string_view first = plans.size() > 0 ? plans[0].string(schema::ExecutionPlan::name)
                                                  : std::string_view("none");
        return report(error, Status::not_found, program->label,
                      "expected a method of the program but got \"%s\"; it has %u, the first is "
                      "\"%s\"",
                      Printable(name).text(), plans.size(), Printable(first).text());
    }
    const penlight_allocator& memory = allocator ? *allocator : program->runtime->allocator;
    auto* method = make_object<penlight_method>(memory);
    if (!method)
        return report(error, Status::out_of_memory, program->label,
                      "expected %zu bytes of memory for a method but got none; free some",
                      sizeof(penlight_method));
    method->allocator = memory;
    method->program = program;
    method->plan = plan;
    method->max_threads = program->runtime->pool.threads();
    std::snprintf(method->label, sizeof method->label, "%s, method \"%.40s\"", program->label,
                  Printable(name).text());
    retain_program(program);
    *out = method;
    return Status::ok;
}

}  // namespace

Status load_method(penlight_program* program, const char* name, const penlight_allocator* allocator,
                   penlight_method* owner, penlight_method** out, penlight_error* error) {
    penlight_method* method = nullptr;
    PENLIGHT_TRY(make_method(program, name, allocator, &method, error));
    if (owner) {
        method->owner = &state_owner(*owner);
        method->owner->references.fetch_add(1, std::memory_order_relaxed);
    }
    Loader loader(*method, error);
    Status status = loader.build();
    if (status == Status::ok) status = loader.allocate();
    if (status == Status::ok) {
        *out = method;
    } else {
        free_method(method);
    }
    return status;
}

Status measure_method(penlight_program* program, const char* name, penlight_memory_info* info,
                      penlight_error* error) {
    penlight_method* method = nullptr;
    PENLIGHT_TRY(make_method(program, name, nullptr, &method, error));
    Status status = Loader(*method, error).build();
    if (status == Status::ok) {
        auto sizes = method->plan.vector<int64_t>(schema::ExecutionPlan::non_const_buffer_sizes);
        size_t planned = method->unplanned_size;
        for (uint32_t i = 1; i < sizes.size() && status == Status::ok; i++)
            if (!checked_add(planned, static_cast<size_t>(sizes[i]), &planned))
                status = report(error, Status::invalid_program, method->label,
                                "expected a plan that fits in memory but got more; export the "
                                "model again");
        *info = {planned, method->scratch_size,
                 method->structures.size() + sizeof(penlight_method)};
    }
    free_method(method);
    return status;
}

void free_method(penlight_method* method) {
    if (method->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    for (size_t i = 0; method->delegates && i < method->counts.delegates; i++) {
        Delegate& delegate = method->delegates[i];
        if (delegate.ready && delegate.table->destroy) delegate.table->destroy(delegate.handle);
    }
    for (size_t i = 0; method->inputs && i < method->counts.inputs; i++)
        method->inputs[i].staging.release();
    for (size_t i = 0; method->arenas && i < method->counts.arenas; i++)
        method->arenas[i].release();
    penlight_program* program = method->program;
    penlight_method* owner = method->owner;
    destroy_object(method->allocator, method);
    if (owner) free_method(owner);
    release_program(program);
}

}  // namespace penlight
