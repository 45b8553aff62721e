// Running a method: its flat list of instructions, one after the other.
#include <cstring>

#include "method.h"

namespace penlight {

namespace {

// More than any honest program runs; a jump that goes round for ever ends here.
constexpr uint64_t instruction_budget = 100'000'000;

Status explain(penlight_context& context, Status status) {
    if (!context.error->message[0])
        return report(context.error, status, context.where,
                      "expected the call to succeed but got status %d without a reason; check its "
                      "inputs",
                      static_cast<int>(status));
    return status;
}

// The commonest case of accepts(), without a call.
bool is_readable_tensor(Parameter parameter, const Value& value) {
    return parameter.kind == Kind::tensor && value.tag == PENLIGHT_TENSOR && value.as.tensor->data;
}

Status recheck(penlight_context& context, const Instruction& call) {
    const KernelRecord& kernel = *call.kernel;
    for (uint32_t a = 0; a < kernel.parameter_count; a++) {
        Parameter parameter = kernel.parameters[a];
        const Value& value = *call.args[a];
        if (!is_readable_tensor(parameter, value) && !accepts(parameter, value, true))
            return context.fail(
                "expected argument %u to be %s with memory but got %s; the "
                "program uses it before it is made, so export it again",
                a, kind_name(parameter.kind), tag_name(value.tag));
    }
    return Status::ok;
}

Status run_kernel(penlight_method& method, const Instruction& call) {
    penlight_context& context = method.context;
    const KernelRecord& kernel = *call.kernel;
    context.where = kernel.name;
    if (call.recheck) PENLIGHT_TRY(recheck(context, call));
    if (!kernel.boxed) {
        auto status = static_cast<Status>(kernel.run(&context, call.args, call.count));
        return status == Status::ok ? status : explain(context, status);
    }
    if (kernel.boxed->scratch) {
        size_t bytes = kernel.boxed->scratch(context.thread_count, call.args);
        if (bytes > context.scratch_size)
            return context.fail(
                "expected to need at most %zu bytes of scratch but got %zu; export "
                "with the largest shapes as bounds",
                context.scratch_size, bytes);
    }
    Status status = kernel.boxed->call(context, call.args);
    return status == Status::ok ? status : explain(context, status);
}

Status run_delegate(penlight_method& method, const Instruction& call) {
    penlight_context& context = method.context;
    const Delegate& delegate = method.delegates[call.delegate];
    context.where = delegate.table->id;
    for (uint32_t a = 0; call.recheck && a < call.count; a++)
        if (!has_memory(*call.args[a]))
            return context.fail(
                "expected argument %u to have memory but got none; the program uses "
                "it before it is made, so export it again",
                a);
    auto status = static_cast<Status>(
        delegate.table->execute(&context, delegate.handle, call.args, call.count));
    return status == Status::ok ? status : explain(context, status);
}

// A condition is a truth value, or a tensor of them that are all true.
Status is_false(penlight_method& method, const Value& condition, bool* result) {
    method.context.where = method.label;
    if (condition.tag == PENLIGHT_BOOLEAN) {
        *result = !condition.as.boolean;
        return Status::ok;
    }
    if (condition.tag == PENLIGHT_TENSOR && condition.as.tensor->dtype == PENLIGHT_BOOL &&
        has_memory(condition)) {
        const auto& tensor = *static_cast<const Tensor*>(condition.as.tensor);
        const auto* items = tensor.ptr<uint8_t>();
        *result = false;
        for (int64_t i = 0, n = tensor.numel(); i < n; i++) *result = *result || items[i] == 0;
        return Status::ok;
    }
    return method.context.fail(
        "expected a condition that is a truth value but got %s; export the "
        "model again",
        tag_name(condition.tag));
}

template <bool Profiled>
Status run_chain(penlight_method& method, const Chain& chain, uint64_t* budget) {
    uint32_t next = 0;
    while (next < chain.count) {
        const Instruction& instruction = chain.instructions[next++];
        [[maybe_unused]] uint64_t began = 0;
        if constexpr (Profiled) began = clock_nanoseconds();
        if ((*budget)-- == 0) {
            method.context.where = method.label;
            return method.context.fail(
                "expected a run of at most %llu instructions but got more; "
                "the program goes round in circles, so export it again",
                static_cast<unsigned long long>(instruction_budget));
        }
        switch (instruction.kind) {
            case InstructionKind::kernel: PENLIGHT_TRY(run_kernel(method, instruction)); break;
            case InstructionKind::delegate: PENLIGHT_TRY(run_delegate(method, instruction)); break;
            case InstructionKind::move: *instruction.args[1] = *instruction.args[0]; break;
            case InstructionKind::jump_false: {
                bool jump = false;
                PENLIGHT_TRY(is_false(method, *instruction.args[0], &jump));
                if (jump) next = instruction.destination;
                break;
            }
            case InstructionKind::nothing: break;
        }
        if constexpr (Profiled) count_run(method, instruction, clock_nanoseconds() - began);
    }
    return Status::ok;
}

Status run_all(penlight_method& method) {
    PENLIGHT_TRY(bind_inputs(method, method.context.error));
    uint64_t budget = instruction_budget;
    const auto run = method.profile.tallies ? run_chain<true> : run_chain<false>;
    for (size_t c = 0; c < method.counts.chains; c++)
        PENLIGHT_TRY(run(method, method.chains[c], &budget));
    return deliver_outputs(method, method.context.error);
}

}  // namespace

Status execute_method(penlight_method& method, penlight_error* error) {
    std::atomic<bool>& running = state_owner(method).running;
    if (running.exchange(true))
        return report(error, Status::invalid_argument, method.label,
                      "expected a method that is not running, nor one that shares its state, but "
                      "got one that is; load it once for each thread");
    penlight_error local{};
    penlight_context& context = method.context;
    context.error = &local;
    uint32_t threads = context.pool->threads();
    context.thread_count = threads < method.max_threads ? threads : method.max_threads;
    for (size_t i = 0; i < method.restore_count; i++) {
        const Restore& restore = method.restores[i];
        restore.value->as.tensor = restore.tensor;
        restore.tensor->data = restore.data;
        restore.tensor->capacity = restore.capacity;
        restore.tensor->is_constant = 0;  // as a view of a constant is
    }
    Status status = run_all(method);
    context.error = nullptr;
    if (status != Status::ok && error) *error = local;
    running.store(false);
    return status;
}

}  // namespace penlight
