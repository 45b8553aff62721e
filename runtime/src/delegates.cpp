// The two delegates that are always there.
//
// "reference": the processed bytes are a whole program; its method "forward" is run by this
//   runtime. Arguments are that method's inputs, then its outputs.
// "null": the processed bytes are the number of outputs, as 4 bytes, least significant first.
//   Computes nothing and writes zeros to that many of its last arguments, which leaves the cost of
//   everything else to be measured.
#include <cstring>

#include "method.h"

namespace penlight {

namespace {

// Delegates inside delegates end here, so that nested files cannot exhaust the stack.
constexpr uint32_t deepest = 3;

struct Reference {
    penlight_allocator allocator;
    penlight_program* program = nullptr;
    penlight_method* method = nullptr;
};

void reference_destroy(void* handle) {
    auto* reference = static_cast<Reference*>(handle);
    if (reference->method) free_method(reference->method);
    if (reference->program) release_program(reference->program);
    destroy_object(reference->allocator, reference);
}

penlight_status reference_init(penlight_context* context, const void* processed, size_t size,
                               const char* const*, const void* const*, const size_t*, size_t,
                               void** handle) {
    if (context->depth >= deepest)
        return penlight_fail(context,
                             "expected delegates nested at most %u deep but got more; export the "
                             "model again",
                             deepest);
    const penlight_allocator& allocator = context->runtime->allocator;
    auto* reference = make_object<Reference>(allocator);
    if (!reference) {
        (void)penlight_fail(context, "expected memory for a delegate but got none; free some");
        return PENLIGHT_OUT_OF_MEMORY;
    }
    reference->allocator = allocator;
    penlight_error error{};
    Status status = open_program_memory(context->runtime, processed, size, context->depth + 1,
                                        &reference->program, &error);
    if (status == Status::ok)
        status = load_method(reference->program, "forward", nullptr, nullptr, &reference->method,
                             &error);
    // Arguments may come in another layout, and execute allocates nothing.
    if (status == Status::ok) status = reserve_staging(*reference->method, &error);
    if (status == Status::ok) {
        *handle = reference;
        return PENLIGHT_OK;
    }
    reference_destroy(reference);
    (void)penlight_fail(context, "%s", error.message);
    return static_cast<penlight_status>(status);
}

// Give a result of the delegate's method to the value that stands for it outside.
Status hand_over(Context& ctx, const Value& from, Value& to) {
    if (to.tag == PENLIGHT_TENSOR && from.tag == PENLIGHT_TENSOR) {
        auto& target = *static_cast<Tensor*>(to.as.tensor);
        const auto& source = *static_cast<const Tensor*>(from.as.tensor);
        if (target.is_constant || target.dtype != source.dtype)
            return ctx.fail(
                "expected a result of %s that may be written but got %s; export the "
                "model again",
                dtype_name(source.dtype), dtype_name(target.dtype));
        PENLIGHT_TRY(resize_like(ctx, target, source));
        copy_tensor(target, source);
        return Status::ok;
    }
    bool scalar = from.tag == PENLIGHT_INT || from.tag == PENLIGHT_BOOLEAN ||
                  from.tag == PENLIGHT_REAL || from.tag == PENLIGHT_NONE;
    if (from.tag != to.tag || !scalar)
        return ctx.fail("expected a result that is %s but got %s; export the model again",
                        tag_name(to.tag), tag_name(from.tag));
    to.as = from.as;
    return Status::ok;
}

penlight_status reference_execute(penlight_context* context, void* handle,
                                  penlight_value* const* args, uint32_t count) {
    penlight_method& method = *static_cast<Reference*>(handle)->method;
    const Counts& counts = method.counts;
    if (count != counts.inputs + counts.outputs)
        return penlight_fail(context,
                             "expected %zu inputs and %zu outputs but got %u arguments; export the "
                             "model again",
                             counts.inputs, counts.outputs, count);
    penlight_error error{};
    Status status = Status::ok;
    for (size_t i = 0; i < counts.inputs && status == Status::ok; i++)
        status = set_input(method, i, *args[i], &error);
    if (status == Status::ok) status = execute_method(method, &error);
    if (status != Status::ok) {
        (void)penlight_fail(context, "%s", error.message);
        return static_cast<penlight_status>(status);
    }
    for (size_t i = 0; i < counts.outputs && status == Status::ok; i++)
        status = hand_over(*context, *method.outputs[i].value, *args[counts.inputs + i]);
    return static_cast<penlight_status>(status);
}

penlight_status null_init(penlight_context* context, const void* processed, size_t size,
                          const char* const*, const void* const*, const size_t*, size_t,
                          void** handle) {
    if (size != sizeof(uint32_t))
        return penlight_fail(context,
                             "expected the number of outputs in 4 bytes but got %zu bytes; export "
                             "the model again",
                             size);
    uint32_t outputs = 0;
    std::memcpy(&outputs, processed, sizeof outputs);
    *handle = reinterpret_cast<void*>(static_cast<uintptr_t>(outputs));
    return PENLIGHT_OK;
}

penlight_status null_execute(penlight_context* context, void* handle, penlight_value* const* args,
                             uint32_t count) {
    auto outputs = reinterpret_cast<uintptr_t>(handle);
    if (outputs > count)
        return penlight_fail(context, "expected %zu outputs but got %u arguments; export again",
                             static_cast<size_t>(outputs), count);
    for (uint32_t i = count - static_cast<uint32_t>(outputs); i < count; i++) {
        if (args[i]->tag != PENLIGHT_TENSOR) continue;
        auto& tensor = *static_cast<Tensor*>(args[i]->as.tensor);
        if (tensor.is_constant)
            return penlight_fail(context,
                                 "expected an output that may be written but argument %u "
                                 "is a constant; export the model again",
                                 i);
        size_t bytes = static_cast<size_t>(tensor.numel()) * item_size(tensor.dtype);
        if (bytes > 0) std::memset(tensor.data, 0, bytes);
    }
    return PENLIGHT_OK;
}

constexpr penlight_delegate entries[] = {
    {"reference", reference_init, reference_execute, reference_destroy},
    {"null", null_init, null_execute, nullptr},
};

}  // namespace

DelegateTable builtin_delegates() { return {entries, sizeof entries / sizeof entries[0]}; }

}  // namespace penlight
