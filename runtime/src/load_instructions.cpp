// Loading a method, third part: its instructions, and the check of their arguments.
#include <cstdio>

#include "load.h"

namespace penlight {

namespace {
constexpr const char* changed = "expected the file as it was opened but got another; open it again";
}

// All operators without a kernel, in one message.
Status Loader::find_missing() {
    TableVector operators = method_.plan.tables(schema::ExecutionPlan::operators);
    char names[300];
    size_t used = 0, missing = 0;
    for (uint32_t i = 0; i < operators.size() && missing < 1000; i++) {
        auto name = operators[i].string(schema::Operator::name);
        auto overload = operators[i].string(schema::Operator::overload);
        if (program_.runtime->registry.find_kernel(name, overload)) continue;
        missing++;
        Printable shown(name), shown_overload(overload);
        char text[260];
        int size = std::snprintf(text, sizeof text, "%s%s%s%s", missing > 1 ? ", " : "",
                                 shown.text(), overload.empty() ? "" : ".", shown_overload.text());
        if (size < 0 || used + static_cast<size_t>(size) + 8 >= sizeof names) {
            if (used + 8 < sizeof names && names[used ? used - 1 : 0] != '.')
                used += static_cast<size_t>(std::snprintf(names + used, 8, ", ..."));
            continue;
        }
        used += static_cast<size_t>(std::snprintf(names + used, sizeof names - used, "%s", text));
    }
    if (missing == 0) return Status::ok;
    return report(error_, Status::unsupported, method_.label,
                  "expected kernels for all operators but got none for %zu: %s; hand them to the "
                  "runtime as extra kernels, or update it",
                  missing, names);
}

Status Loader::make_instructions() {
    TableVector chains = method_.plan.tables(schema::ExecutionPlan::chains);
    for (uint32_t c = 0; c < chains.size(); c++) {
        TableVector list = chains[c].tables(schema::Chain::instructions);
        Instruction* first = instructions_.draw(list.size());
        if (!first) return fail(Status::invalid_program, "chain", c, "%s", changed);
        method_.chains[c] = {first, list.size()};
        for (uint32_t i = 0; i < list.size(); i++)
            if (make_instruction(list[i], first + i) != Status::ok)
                return fail(Status::invalid_program, "instruction", i, "%s", changed);
    }
    return Status::ok;
}

Status Loader::make_arguments(Vector<int32_t> indices, Instruction* instruction) {
    instruction->count = indices.size();
    instruction->args = pointers_.draw(indices.size());
    if (!instruction->args) return Status::invalid_program;
    for (uint32_t i = 0; i < indices.size(); i++) {
        if (static_cast<uint32_t>(indices[i]) >= method_.counts.values)
            return Status::invalid_program;
        instruction->args[i] = &method_.values[indices[i]];
    }
    return Status::ok;
}

Status Loader::make_instruction(Table table, Instruction* instruction) {
    using Kinds = schema::InstructionArguments;
    auto kind = static_cast<Kinds>(table.get<uint8_t>(schema::Instruction::instr_args_type));
    Table body = table.table(schema::Instruction::instr_args);
    switch (kind) {
        case Kinds::KernelCall: {
            TableVector operators = method_.plan.tables(schema::ExecutionPlan::operators);
            auto index = static_cast<uint32_t>(body.get<int32_t>(schema::KernelCall::op_index));
            if (index >= operators.size()) return Status::invalid_program;
            Table name = operators[index];
            instruction->kind = InstructionKind::kernel;
            instruction->kernel = program_.runtime->registry.find_kernel(
                name.string(schema::Operator::name), name.string(schema::Operator::overload));
            return instruction->kernel
                       ? make_arguments(body.vector<int32_t>(schema::KernelCall::args), instruction)
                       : Status::invalid_program;
        }
        case Kinds::DelegateCall:
            instruction->kind = InstructionKind::delegate;
            instruction->delegate =
                static_cast<uint32_t>(body.get<int32_t>(schema::DelegateCall::delegate_index));
            if (instruction->delegate >= method_.counts.delegates) return Status::invalid_program;
            return make_arguments(body.vector<int32_t>(schema::KernelCall::args), instruction);
        case Kinds::MoveCall: {
            int32_t indices[] = {body.get<int32_t>(schema::MoveCall::move_from),
                                 body.get<int32_t>(schema::MoveCall::move_to)};
            instruction->kind = InstructionKind::move;
            return make_arguments({reinterpret_cast<const std::byte*>(indices), 2}, instruction);
        }
        case Kinds::JumpFalseCall: {
            auto condition = body.get<int32_t>(schema::JumpFalseCall::cond_value_index);
            instruction->kind = InstructionKind::jump_false;
            instruction->destination = static_cast<uint32_t>(
                body.get<int32_t>(schema::JumpFalseCall::destination_instruction));
            return make_arguments({reinterpret_cast<const std::byte*>(&condition), 1}, instruction);
        }
        default:
            // Planned memory is not freed while the method lives.
            instruction->kind = InstructionKind::nothing;
            return Status::ok;
    }
}

// Which values may have another tag, tensor or memory when an instruction runs than they have now.
void Loader::mark_unstable() {
    uint8_t* flags = method_.flags;
    for (size_t i = 0; i < method_.counts.inputs; i++) {
        const Input& input = method_.inputs[i];
        if (input.tensor && !input.planned) flags[input.value - method_.values] |= unstable;
    }
    for (size_t c = 0; c < method_.counts.chains; c++) {
        const Chain& chain = method_.chains[c];
        for (uint32_t i = 0; i < chain.count; i++) {
            const Instruction& instruction = chain.instructions[i];
            if (instruction.kind == InstructionKind::move)
                flags[instruction.args[1] - method_.values] |= unstable | is_moved;
            if (instruction.kind == InstructionKind::kernel) mark_results(instruction);
        }
    }
    mark_lists();
    for (size_t c = 0; c < method_.counts.chains; c++) {
        const Chain& chain = method_.chains[c];
        for (uint32_t i = 0; i < chain.count; i++)
            for (uint32_t a = 0; a < chain.instructions[i].count; a++)
                if (flags[chain.instructions[i].args[a] - method_.values] & unstable)
                    chain.instructions[i].recheck = true;
    }
}

void Loader::mark_results(const Instruction& call) {
    const KernelRecord& kernel = *call.kernel;
    uint32_t count = call.count < kernel.parameter_count ? call.count : kernel.parameter_count;
    bool view = std::string_view(kernel.name).starts_with(view_operator);
    for (uint32_t a = 0; a < count; a++) {
        uint8_t& flags = method_.flags[call.args[a] - method_.values];
        if (kernel.parameters[a].kind == Kind::symbol) flags |= unstable;
        if (view && kernel.parameters[a].kind == Kind::out_tensor) flags |= unstable | is_view;
    }
}

// A list is as unstable as what it lists.
void Loader::mark_lists() {
    for (size_t v = 0; v < method_.counts.values; v++) {
        const Value& list = method_.values[v];
        if (list.tag != PENLIGHT_INT_LIST && list.tag != PENLIGHT_TENSOR_LIST &&
            list.tag != PENLIGHT_OPTIONAL_TENSOR_LIST)
            continue;
        for (uint32_t i = 0; i < list.count; i++)
            if (list.as.values[i] != method_.nothing)
                method_.flags[v] |= method_.flags[list.as.values[i] - method_.values] & unstable;
    }
}

Status Loader::check_instructions() {
    for (size_t c = 0; c < method_.counts.chains; c++) {
        const Chain& chain = method_.chains[c];
        for (uint32_t i = 0; i < chain.count; i++) {
            const Instruction& instruction = chain.instructions[i];
            Status status = Status::ok;
            if (instruction.kind == InstructionKind::kernel) status = check_kernel(instruction, i);
            if (instruction.kind == InstructionKind::move) status = check_move(instruction, i);
            if (instruction.kind == InstructionKind::jump_false) {
                penlight_tag tag = instruction.args[0]->tag;
                if (tag != PENLIGHT_BOOLEAN && tag != PENLIGHT_TENSOR)
                    status = fail(Status::invalid_program, "instruction", i,
                                  "expected a condition that is a truth value but got %s; export "
                                  "the model again",
                                  tag_name(tag));
            }
            PENLIGHT_TRY(status);
        }
    }
    return Status::ok;
}

Status Loader::check_kernel(const Instruction& call, size_t index) {
    const KernelRecord& kernel = *call.kernel;
    uint32_t count = kernel.parameter_count;
    if (call.count != count && call.count != count + 1)
        return fail(Status::invalid_program, "instruction", index,
                    "expected %u arguments for %s (%s) but got %u; export the model again", count,
                    kernel.name, kernel.signature, call.count);
    for (uint32_t a = 0; a < count; a++) {
        const Value& value = *call.args[a];
        if (accepts(kernel.parameters[a], value, false)) continue;
        bool constant = value.tag == PENLIGHT_TENSOR && value.as.tensor->is_constant;
        return fail(Status::invalid_program, "instruction", index,
                    "expected argument %u of %s (%s) to be %s but got %s%s; export the model again",
                    a, kernel.name, kernel.signature, kind_name(kernel.parameters[a].kind),
                    constant ? "a constant " : "", tag_name(value.tag));
    }
    if (call.count == count) return Status::ok;
    // One more value is the operator's result, which is its out argument, or the list of them.
    penlight_tag tag = call.args[count]->tag;
    if (tag == PENLIGHT_INT_LIST || tag == PENLIGHT_REAL_LIST || tag == PENLIGHT_BOOL_LIST ||
        tag == PENLIGHT_STRING || tag == PENLIGHT_OPTIONAL_TENSOR_LIST)
        return fail(Status::invalid_program, "instruction", index,
                    "expected the result of %s to be a tensor but got %s; export the model again",
                    kernel.name, tag_name(tag));
    return Status::ok;
}

Status Loader::check_move(const Instruction& move, size_t index) {
    penlight_tag from = move.args[0]->tag, to = move.args[1]->tag;
    auto numeric = [](penlight_tag tag) {
        return tag == PENLIGHT_INT || tag == PENLIGHT_BOOLEAN || tag == PENLIGHT_REAL;
    };
    if (from == to || (numeric(from) && numeric(to))) return Status::ok;
    return fail(
        Status::invalid_program, "instruction", index,
        "expected a move between values of one kind but got %s to %s; export the model again",
        tag_name(from), tag_name(to));
}

Status Loader::size_scratch() {
    size_t most = 0;
    for (size_t c = 0; c < method_.counts.chains; c++) {
        const Chain& chain = method_.chains[c];
        for (uint32_t i = 0; i < chain.count; i++) {
            const Instruction& call = chain.instructions[i];
            if (call.kind != InstructionKind::kernel || !call.kernel->boxed ||
                !call.kernel->boxed->scratch)
                continue;
            size_t bytes = call.kernel->boxed->scratch(method_.max_threads, call.args);
            if (bytes > SIZE_MAX / 4)
                return fail(Status::invalid_program, "instruction", i,
                            "expected scratch memory for %s that fits but got more; export with "
                            "smaller bounds in dynamic_shapes",
                            call.kernel->name);
            if (bytes > most) most = bytes;
        }
    }
    method_.scratch_size = most;
    return Status::ok;
}

}  // namespace penlight
