#include "profile.h"

#include <chrono>

#include "method.h"
#include "penlight/penlight_profile.h"

namespace penlight {

namespace {

Memory memory_of(const penlight_method& method, const Tensor& tensor) {
    if (!tensor.data) return Memory::unknown;
    const auto* at = static_cast<const std::byte*>(tensor.data);
    for (size_t i = 0; i < method.state_count; i++) {
        const auto* state = static_cast<const std::byte*>(method.states[i]->data);
        if (state && at >= state && at < state + method.states[i]->capacity) return Memory::state;
    }
    return Memory::other;
}

bool is_state(const penlight_method& method, const Tensor& tensor) {
    const auto index = static_cast<size_t>(&tensor - method.tensors);
    Memory known = index < method.counts.tensors ? method.profile.memory[index] : Memory::unknown;
    if (known == Memory::unknown) known = memory_of(method, tensor);
    return known == Memory::state;
}

uint64_t value_bytes(const Value& value) {
    if (value.tag == PENLIGHT_TENSOR)
        return tensor_bytes(*static_cast<const Tensor*>(value.as.tensor));
    uint64_t sum = 0;
    if (value.tag == PENLIGHT_TENSOR_LIST || value.tag == PENLIGHT_OPTIONAL_TENSOR_LIST)
        for (uint32_t i = 0; i < value.count; i++)
            if (value.as.values[i]->tag == PENLIGHT_TENSOR) sum += value_bytes(*value.as.values[i]);
    return sum;
}

bool is_output(const Instruction& call, uint32_t argument) {
    if (call.kind != InstructionKind::kernel) return false;
    Kind kind = call.kernel->parameters[argument].kind;
    return kind == Kind::out_tensor || kind == Kind::out_tensor_list || kind == Kind::symbol;
}

void count_read(const penlight_method& method, const Value& value, uint64_t bytes, Tally* tally) {
    const auto* tensor =
        value.tag == PENLIGHT_TENSOR ? static_cast<const Tensor*>(value.as.tensor) : nullptr;
    if (tensor && tensor->is_constant) {
        tally->constant_bytes += bytes;
    } else if (tensor && bytes && is_state(method, *tensor)) {
        tally->state_bytes += bytes;
    } else if (tensor || bytes != value_bytes(value)) {
        tally->read_bytes += bytes;
    } else if (bytes) {  // a list, whole
        for (uint32_t i = 0; i < value.count; i++)
            count_read(method, *value.as.values[i], value_bytes(*value.as.values[i]), tally);
    }
}

void count_work(const penlight_method& method, const Instruction& call, Tally* tally) {
    // The value after a kernel's parameters is its result once more. Of a delegate nobody knows
    // which arguments it writes: all count as read.
    uint32_t count =
        call.kind == InstructionKind::kernel ? call.kernel->parameter_count : call.count;
    if (count > work_arguments) count = work_arguments;
    uint64_t bytes[work_arguments];
    for (uint32_t a = 0; a < count; a++) bytes[a] = value_bytes(*call.args[a]);
    Work work{call.args, count, bytes, 0};
    if (tally->rule) tally->rule(work);
    for (uint32_t a = 0; a < count; a++) {
        if (is_output(call, a)) {
            tally->written_bytes += bytes[a];
        } else {
            count_read(method, *call.args[a], bytes[a], tally);
        }
    }
    tally->multiply_adds += work.multiply_adds;
}

const Instruction* first_instruction(const penlight_method& method) {
    return method.counts.chains ? method.chains[0].instructions : nullptr;
}

// All instructions lie in one array, chain after chain.
Status switch_on(penlight_method& method, penlight_error* error) {
    Profile& profile = method.profile;
    const size_t instructions = method.counts.instructions, tensors = method.counts.tensors;
    size_t size = 0;
    bool fits =
        checked_mul(instructions + 1, sizeof(Tally), &size) && checked_add(size, tensors, &size);
    if (!fits || !profile.block.allocate(method.allocator, size, alignof(Tally), true))
        return report(error, Status::out_of_memory, method.label,
                      "expected %zu bytes of memory to profile in but got none; free some", size);
    profile.tallies = reinterpret_cast<Tally*>(profile.block.data());
    profile.memory = reinterpret_cast<Memory*>(profile.tallies + instructions + 1);
    profile.instructions = instructions;
    const Instruction* first = first_instruction(method);
    for (size_t i = 0; i < instructions; i++)
        if (first[i].kind == InstructionKind::kernel)
            profile.tallies[i].rule = work_rule(first[i].kernel->name);
    for (size_t t = 0; t < tensors; t++) profile.memory[t] = memory_of(method, method.tensors[t]);
    // Views get their memory anew in each run.
    for (size_t r = 0; r < method.restore_count; r++)
        profile.memory[method.restores[r].tensor - method.tensors] = Memory::unknown;
    return Status::ok;
}

void switch_off(penlight_method& method) {
    Profile& profile = method.profile;
    profile.tallies = nullptr;
    profile.memory = nullptr;
    profile.instructions = 0;
    profile.block.release();
}

void describe(const penlight_method& method, size_t index, penlight_profile_record* record) {
    uint32_t chain = 0;
    auto left = static_cast<uint32_t>(index);
    while (left >= method.chains[chain].count) left -= method.chains[chain++].count;
    const Instruction& instruction = method.chains[chain].instructions[left];
    const Tally& tally = method.profile.tallies[index];
    *record = {};
    record->kind = PENLIGHT_PROFILE_CONTROL;
    switch (instruction.kind) {
        case InstructionKind::kernel:
            record->kind = PENLIGHT_PROFILE_KERNEL;
            record->name = instruction.kernel->name;
            break;
        case InstructionKind::delegate:
            record->kind = PENLIGHT_PROFILE_DELEGATE;
            record->name = method.delegates[instruction.delegate].table->id;
            break;
        case InstructionKind::move: record->name = "move"; break;
        case InstructionKind::jump_false: record->name = "jump"; break;
        case InstructionKind::nothing: record->name = "nothing"; break;
    }
    record->chain = chain;
    record->instruction = left;
    record->runs = tally.runs;
    record->nanoseconds = tally.nanoseconds;
    record->constant_bytes = tally.constant_bytes;
    record->state_bytes = tally.state_bytes;
    record->read_bytes = tally.read_bytes;
    record->written_bytes = tally.written_bytes;
    record->multiply_adds = tally.multiply_adds;
}

penlight_status refuse(penlight_error* error, const char* where, const char* expected) {
    return static_cast<penlight_status>(
        report(error, Status::invalid_argument, where, "%s", expected));
}

}  // namespace

uint64_t clock_nanoseconds() {
    using namespace std::chrono;
    auto now = steady_clock::now().time_since_epoch();
    return static_cast<uint64_t>(duration_cast<nanoseconds>(now).count());
}

void count_run(penlight_method& method, const Instruction& instruction, uint64_t nanoseconds) {
    Tally& tally = method.profile.tallies[&instruction - first_instruction(method)];
    tally.runs++;
    tally.nanoseconds += nanoseconds;
    if (instruction.kind == InstructionKind::kernel ||
        instruction.kind == InstructionKind::delegate)
        count_work(method, instruction, &tally);
}

}  // namespace penlight

using penlight::refuse;

penlight_status penlight_method_set_profiling(penlight_method* method, bool on,
                                              penlight_error* error) {
    if (!method)
        return refuse(error, "penlight_method_set_profiling",
                      "expected a method but got null; pass one");
    if (method->running.exchange(true))
        return refuse(error, method->label,
                      "expected a method that is not running but got one that is; wait for it");
    penlight::switch_off(*method);
    auto status = on ? penlight::switch_on(*method, error) : penlight::Status::ok;
    method->running.store(false);
    return static_cast<penlight_status>(status);
}

size_t penlight_method_profile_count(const penlight_method* method) {
    return method ? method->profile.instructions : 0;
}

penlight_status penlight_method_profile(const penlight_method* method, size_t index,
                                        penlight_profile_record* record, penlight_error* error) {
    if (!method || !record)
        return refuse(error, "penlight_method_profile",
                      "expected a method and a place for the record but got null; pass both");
    if (method->running.load())
        return refuse(error, method->label,
                      "expected a method that is not running but got one that is; wait for it");
    if (index >= method->profile.instructions)
        return static_cast<penlight_status>(penlight::report(
            error, penlight::Status::invalid_argument, method->label,
            "expected an instruction below %zu but got %zu; switch profiling on, and ask for their "
            "number",
            method->profile.instructions, index));
    penlight::describe(*method, index, record);
    return PENLIGHT_OK;
}
