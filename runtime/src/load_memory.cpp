// Loading a method, last part: memory, state, delegates.
#include <cstring>

#include "load.h"

namespace penlight {

namespace {
constexpr size_t arena_alignment = 64;
}

Status Loader::allocate() {
    auto sizes = method_.plan.vector<int64_t>(schema::ExecutionPlan::non_const_buffer_sizes);
    for (uint32_t i = 1; i < sizes.size() && i < method_.counts.arenas; i++) {
        auto size = static_cast<size_t>(sizes[i]);
        if (!method_.arenas[i].allocate(method_.allocator, size, arena_alignment, true))
            return no_memory(size, "its plan");
    }
    if (!method_.unplanned.allocate(method_.allocator, method_.unplanned_size, arena_alignment,
                                    true))
        return no_memory(method_.unplanned_size, "its outputs");
    if (!method_.scratch.allocate(method_.allocator, method_.scratch_size, arena_alignment, false))
        return no_memory(method_.scratch_size, "scratch");
    PENLIGHT_TRY(bind_memory());
    initialise_state(method_);
    penlight_context& context = method_.context;
    context.runtime = program_.runtime;
    context.pool = &program_.runtime->pool;
    context.thread_count = method_.max_threads;
    context.scratch_begin = method_.scratch.data();
    context.scratch_size = method_.scratch.size();
    context.isa = program_.runtime->isa;
    return make_delegates();
}

// Where each tensor lies.
Status Loader::bind_memory() {
    size_t unplanned = 0;
    for (uint32_t i = 0; i < values_.size(); i++) {
        if (method_.values[i].tag != PENLIGHT_TENSOR) continue;
        auto& tensor = *static_cast<Tensor*>(method_.values[i].as.tensor);
        if (tensor.is_constant) continue;
        Table table = values_[i].table(schema::EValue::val);
        Table allocation = table.table(schema::Tensor::allocation_info);
        if (allocation.present()) {
            PENLIGHT_TRY(bind_planned(tensor, allocation, i));
        } else if (!(method_.flags[i] & (is_input | is_view))) {
            if (tensor.capacity > method_.unplanned.size() - unplanned) continue;
            tensor.data = method_.unplanned.data() + unplanned;
            unplanned += align_up(tensor.capacity, 64);
            bind_owned(method_.values[i], tensor, method_.flags[i]);
        }
        if ((method_.flags[i] & (is_view | is_moved)) &&
            method_.restore_count < method_.counts.restores)
            method_.restores[method_.restore_count++] = {&method_.values[i], &tensor, tensor.data,
                                                         tensor.capacity};
    }
    return Status::ok;
}

Status Loader::bind_planned(Tensor& tensor, Table allocation, uint32_t index) {
    using A = schema::AllocationDetails;
    auto id = allocation.get<uint32_t>(A::memory_id);
    uint64_t offset = allocation.get<uint32_t>(A::memory_offset_low) |
                      uint64_t{allocation.get<uint32_t>(A::memory_offset_high)} << 32;
    size_t room = id < method_.counts.arenas ? method_.arenas[id].size() : 0;
    if (offset > room || tensor.capacity > room - offset)
        return fail(Status::invalid_program, "value", index,
                    "expected the file as it was opened but got another; open it again");
    // An arena without bytes still has a place for tensors without elements.
    if (room > 0) tensor.data = method_.arenas[id].data() + offset;
    return Status::ok;
}

// Outputs whose memory is the method's own may be given the caller's instead.
void Loader::bind_owned(const Value& value, Tensor& tensor, uint8_t flags) {
    if (flags & is_moved) return;
    for (size_t i = 0; i < method_.counts.outputs; i++) {
        Output& output = method_.outputs[i];
        if (output.value != &value) continue;
        output.owned = &tensor;
        output.own_data = static_cast<std::byte*>(tensor.data);
        output.own_size = tensor.capacity;
    }
}

void initialise_state(penlight_method& method) {
    using T = schema::Tensor;
    TableVector values = method.plan.tables(schema::ExecutionPlan::values);
    for (uint32_t i = 0; i < values.size(); i++) {
        if (value_type(values, i) != schema::KernelTypes::Tensor) continue;
        Table tensor = values[i].table(schema::EValue::val);
        auto index = tensor.get<uint32_t>(T::data_buffer_idx);
        Table allocation = tensor.table(T::allocation_info);
        if (index == 0 || !allocation.present()) continue;
        auto list = tensor.table(T::extra_tensor_info)
                        .get<uint64_t>(schema::ExtraTensorInfo::mutable_data_segments_idx);
        Bytes data = mutable_bytes(*method.program, list, index);
        TensorShape shape;
        auto id = allocation.get<uint32_t>(schema::AllocationDetails::memory_id);
        uint64_t offset =
            allocation.get<uint32_t>(schema::AllocationDetails::memory_offset_low) |
            uint64_t{allocation.get<uint32_t>(schema::AllocationDetails::memory_offset_high)} << 32;
        if (!shape_of(tensor, &shape) || shape.nbytes == 0 || id >= method.counts.arenas) continue;
        const Block& arena = method.arenas[id];
        auto size = static_cast<size_t>(shape.nbytes);
        if (size > data.size || offset > arena.size() || size > arena.size() - offset) continue;
        std::memcpy(arena.data() + offset, data.data, size);
    }
}

Status Loader::make_delegates() {
    using D = schema::BackendDelegate;
    TableVector list = method_.plan.tables(schema::ExecutionPlan::delegates);
    for (uint32_t i = 0; i < list.size() && i < method_.counts.delegates; i++) {
        Table table = list[i];
        std::string_view id = table.string(D::id);
        Delegate& delegate = method_.delegates[i];
        delegate.table = program_.runtime->registry.find_delegate(id);
        if (!delegate.table)
            return fail(Status::unsupported, "delegate", i,
                        "expected a delegate that this runtime has but got \"%s\"; hand it to the "
                        "runtime as an extra delegate, or export without its partitioner",
                        Printable(id).text());
        PENLIGHT_TRY(make_delegate(table, i));
    }
    return Status::ok;
}

Status Loader::make_delegate(Table table, uint32_t index) {
    using D = schema::BackendDelegate;
    TableVector specs = table.tables(D::compile_specs);
    size_t count = specs.size();
    Block lists;
    if (!lists.allocate(method_.allocator, count * 3 * sizeof(void*), 16, false))
        return no_memory(count * 3 * sizeof(void*), "the options of a delegate");
    auto* keys = reinterpret_cast<const char**>(lists.data());
    auto* values = reinterpret_cast<const void**>(keys + count);
    auto* sizes = reinterpret_cast<size_t*>(values + count);
    for (uint32_t s = 0; s < count; s++) {
        auto value = specs[s].vector<std::byte>(schema::CompileSpec::value);
        keys[s] = specs[s].string(schema::CompileSpec::key).data();
        values[s] = value.data;
        sizes[s] = value.count;
    }
    Bytes processed = delegate_bytes(program_, table.table(D::processed));
    Delegate& delegate = method_.delegates[index];
    penlight_error local{};
    penlight_context& context = method_.context;
    context.where = delegate.table->id;
    context.error = &local;
    context.depth = program_.depth;
    penlight_status status = delegate.table->init(&context, processed.data, processed.size, keys,
                                                  values, sizes, count, &delegate.handle);
    context.error = nullptr;
    delegate.ready = status == PENLIGHT_OK;
    if (delegate.ready) return Status::ok;
    return fail(static_cast<Status>(status), "delegate", index, "%s",
                local.message[0] ? local.message
                                 : "expected a delegate to start but it gave no reason; check its "
                                   "options");
}

}  // namespace penlight
