// Loading a method, last part: memory, state, delegates.
#include <cstring>

#include "load.h"

namespace penlight {

namespace {
constexpr size_t arena_alignment = 64;
}

Status Loader::allocate() {
    auto sizes = method_.plan.vector<int64_t>(schema::ExecutionPlan::non_const_buffer_sizes);
    if (method_.owner) PENLIGHT_TRY(share_state());
    for (uint32_t i = 1; i < sizes.size() && i < method_.counts.arenas; i++) {
        if (method_.arenas[i].borrowed()) continue;
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
    if (!method_.owner) initialise_state(method_);
    penlight_context& context = method_.context;
    context.runtime = program_.runtime;
    context.pool = &program_.runtime->pool;
    context.thread_count = method_.max_threads;
    context.scratch_begin = method_.scratch.data();
    context.scratch_size = method_.scratch.size();
    context.isa = program_.runtime->isa;
    context.prefetch_near = program_.runtime->prefetch_near;
    return make_delegates();
}

// The first tensor of state among values from *index on, which becomes the index after it.
Table Loader::next_state(const penlight_method& method, uint32_t* index) {
    TableVector values = method.plan.tables(schema::ExecutionPlan::values);
    while (*index < values.size()) {
        uint32_t i = (*index)++;
        if (value_type(values, i) != schema::KernelTypes::Tensor) continue;
        Table tensor = values[i].table(schema::EValue::val);
        if (is_state(tensor)) return tensor;
    }
    return {};
}

// Take the owner's memory for every arena with state; both methods must plan the same state.
Status Loader::share_state() {
    uint32_t own = 0, owners = 0;
    while (true) {
        Table state = next_state(method_, &own);
        Table owned = next_state(*method_.owner, &owners);
        if (state.present() != owned.present())
            return report(error_, Status::invalid_argument, method_.label,
                          "expected as much state as the method it shares it with but got %s; "
                          "load it by itself",
                          state.present() ? "more" : "less");
        if (!state.present()) return Status::ok;
        PENLIGHT_TRY(share_memory(state, owned, own - 1));
    }
}

Status Loader::share_memory(Table state, Table owned, uint32_t index) {
    using A = schema::AllocationDetails;
    using T = schema::Tensor;
    Table mine = state.table(T::allocation_info), other = owned.table(T::allocation_info);
    auto sizes = state.vector<int32_t>(T::sizes), owned_sizes = owned.vector<int32_t>(T::sizes);
    bool same = state.get<int8_t>(T::scalar_type) == owned.get<int8_t>(T::scalar_type) &&
                sizes.size() == owned_sizes.size();
    for (uint32_t d = 0; same && d < sizes.size(); d++) same = sizes[d] == owned_sizes[d];
    for (auto field : {A::memory_id, A::memory_offset_low, A::memory_offset_high})
        same = same && mine.get<uint32_t>(field) == other.get<uint32_t>(field);
    auto name = [](Table tensor) {
        return tensor.table(T::extra_tensor_info)
            .string(schema::ExtraTensorInfo::fully_qualified_name);
    };
    auto id = mine.get<uint32_t>(A::memory_id);
    auto bytes = [id](const penlight_method& method) {
        auto list = method.plan.vector<int64_t>(schema::ExecutionPlan::non_const_buffer_sizes);
        return id < list.size() ? list[id] : -1;
    };
    same = same && name(state) == name(owned) && bytes(method_) == bytes(*method_.owner);
    if (!same || id >= method_.counts.arenas || id >= method_.owner->counts.arenas)
        return fail(Status::invalid_argument, "value", index,
                    "expected the state of the method it shares it with, of the same name, place, "
                    "type and sizes, but got another; load it by itself");
    if (!method_.arenas[id].borrowed()) method_.arenas[id].borrow(method_.owner->arenas[id]);
    return Status::ok;
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
