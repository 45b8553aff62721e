// Verification of one execution plan: values, tensors, instructions.
#include "runtime.h"
#include "verify.h"

namespace penlight {

namespace {
constexpr const char* ask_static =
    "export the model again for this runtime, with its weights inside the file and on the CPU";
}

Status Verifier::check_index(int64_t index, size_t count, const char* what) {
    if (index >= 0 && static_cast<uint64_t>(index) < count) return Status::ok;
    return bad("expected the index of %s, below %zu, but got %lld", what, count,
               static_cast<long long>(index));
}

Status Verifier::check_value_indices(Vector<int32_t> indices, const char* what) {
    PENLIGHT_TRY(check_bounds());
    PENLIGHT_TRY(spend(indices.size()));
    for (uint32_t i = 0; i < indices.size(); i++)
        PENLIGHT_TRY(check_index(indices[i], values_.size(), what));
    return Status::ok;
}

Status Verifier::check_plan(Table plan) {
    using Plan = schema::ExecutionPlan;
    values_ = plan.tables(Plan::values);
    operators_ = plan.tables(Plan::operators);
    delegates_ = plan.tables(Plan::delegates);
    memory_sizes_ = plan.vector<int64_t>(Plan::non_const_buffer_sizes);
    PENLIGHT_TRY(check_bounds());
    PENLIGHT_TRY(check_memory_sizes());
    TableVector devices = plan.tables(Plan::non_const_buffer_device);
    PENLIGHT_TRY(spend(devices.size()));
    for (uint32_t i = 0; i < devices.size(); i++) {
        enter("memory", i);
        if (devices[i].get<int8_t>(schema::NonConstBufferDevice::device_type) != 0)
            return fail(Status::unsupported, "expected memory of the CPU but got another; %s",
                        ask_static);
    }
    PENLIGHT_TRY(spend(values_.size()));
    for (uint32_t i = 0; i < values_.size(); i++) {
        enter("value", i);
        PENLIGHT_TRY(check_value(values_[i]));
        PENLIGHT_TRY(check_bounds());
    }
    item_ = nullptr;
    PENLIGHT_TRY(check_inputs(plan.vector<int32_t>(Plan::inputs)));
    PENLIGHT_TRY(check_value_indices(plan.vector<int32_t>(Plan::outputs), "an output"));
    PENLIGHT_TRY(check_operators());
    PENLIGHT_TRY(check_delegates());
    TableVector chains = plan.tables(Plan::chains);
    PENLIGHT_TRY(check_bounds());
    PENLIGHT_TRY(spend(chains.size()));
    for (uint32_t i = 0; i < chains.size(); i++) PENLIGHT_TRY(check_chain(chains[i], i));
    item_ = nullptr;
    return check_bounds();
}

Status Verifier::check_inputs(Vector<int32_t> inputs) {
    PENLIGHT_TRY(check_value_indices(inputs, "an input"));
    for (uint32_t i = 0; i < inputs.size(); i++) {
        enter("input", i);
        auto index = static_cast<uint32_t>(inputs[i]);
        if (value_type(values_, index) != schema::KernelTypes::Tensor) continue;
        Table tensor = values_[index].table(schema::EValue::val);
        if (tensor.get<uint32_t>(schema::Tensor::data_buffer_idx) != 0 &&
            !tensor.has(schema::Tensor::allocation_info))
            return bad("expected a value that can be set but got a constant");
    }
    item_ = nullptr;
    return Status::ok;
}

Status Verifier::check_memory_sizes() {
    PENLIGHT_TRY(spend(memory_sizes_.size()));
    for (uint32_t i = 0; i < memory_sizes_.size(); i++) {
        enter("memory", i);
        if (memory_sizes_[i] < 0 || static_cast<uint64_t>(memory_sizes_[i]) > SIZE_MAX / 4)
            return bad("expected a size of memory but got %lld",
                       static_cast<long long>(memory_sizes_[i]));
    }
    item_ = nullptr;
    return Status::ok;
}

Status Verifier::check_value(Table value) {
    using Types = schema::KernelTypes;
    auto type = static_cast<Types>(value.get<uint8_t>(schema::EValue::val_type));
    Table body = value.table(schema::EValue::val);
    PENLIGHT_TRY(check_bounds());
    if (type < Types::Null || type > Types::OptionalTensorList)
        return bad("expected a type of value from 1 to 11 but got %d", static_cast<int>(type));
    if (type != Types::Null && !body.present()) return bad("expected a value but got none");
    switch (type) {
        case Types::Tensor: return check_tensor(body);
        case Types::IntList: return check_int_list(body);
        case Types::TensorList: return check_tensor_list(body, false);
        case Types::OptionalTensorList: return check_tensor_list(body, true);
        case Types::String:
            if (body.string(schema::String::string_val).data()) return Status::ok;
            PENLIGHT_TRY(check_bounds());
            return bad("expected text but got none");
        case Types::DoubleList: {
            auto items = body.vector<double>(schema::DoubleList::items);
            if (!items.present()) return bad("expected a list of numbers but got none");
            return spend(items.size());
        }
        case Types::BoolList: {
            auto items = body.vector<uint8_t>(schema::BoolList::items);
            if (!items.present()) return bad("expected a list of truth values but got none");
            PENLIGHT_TRY(spend(items.size()));
            for (uint32_t i = 0; i < items.size(); i++)
                if (items[i] > 1) return bad("expected 0 or 1 but got %u at item %u", items[i], i);
            return Status::ok;
        }
        default: return Status::ok;
    }
}

Status Verifier::check_int_list(Table list) {
    auto items = list.vector<int64_t>(schema::IntList::items);
    PENLIGHT_TRY(check_bounds());
    if (!items.present()) return bad("expected a list of integers but got none");
    PENLIGHT_TRY(spend(items.size()));
    for (uint32_t i = 0; i < items.size(); i++) {
        PENLIGHT_TRY(check_index(items[i], values_.size(), "an integer"));
        if (value_type(values_, static_cast<uint32_t>(items[i])) != schema::KernelTypes::Int)
            return bad("expected an integer at item %u but got value %lld, which is none", i,
                       static_cast<long long>(items[i]));
    }
    return Status::ok;
}

Status Verifier::check_tensor_list(Table list, bool optional) {
    using Types = schema::KernelTypes;
    static_assert(schema::TensorList::items == schema::OptionalTensorList::items);
    auto items = list.vector<int32_t>(schema::TensorList::items);
    PENLIGHT_TRY(check_bounds());
    if (!items.present()) return bad("expected a list of tensors but got none");
    PENLIGHT_TRY(spend(items.size()));
    for (uint32_t i = 0; i < items.size(); i++) {
        if (optional && items[i] == -1) continue;
        PENLIGHT_TRY(check_index(items[i], values_.size(), "a tensor"));
        Types type = value_type(values_, static_cast<uint32_t>(items[i]));
        if (type != Types::Tensor && !(optional && type == Types::Null))
            return bad("expected a tensor at item %u but got value %d, which is none", i, items[i]);
    }
    return Status::ok;
}

Status Verifier::check_tensor(Table tensor) {
    using T = schema::Tensor;
    auto dtype = tensor.get<int8_t>(T::scalar_type);
    if (item_size(dtype) == 0)
        return fail(Status::unsupported,
                    "expected a dtype that this runtime knows but got code %d; export the model "
                    "with plain integer or floating-point tensors",
                    dtype);
    auto offset = tensor.get<int32_t>(T::storage_offset);
    if (offset != 0) return bad("expected a storage offset of 0 but got %d", offset);
    auto dynamism = tensor.get<int8_t>(T::shape_dynamism);
    if (dynamism < 0 || dynamism > 2)
        return bad("expected a dynamism from 0 to 2 but got %d", dynamism);
    PENLIGHT_TRY(check_layout(tensor));
    return check_storage(tensor);
}

Status Verifier::check_layout(Table tensor) {
    auto sizes = tensor.vector<int32_t>(schema::Tensor::sizes);
    auto order = tensor.vector<uint8_t>(schema::Tensor::dim_order);
    PENLIGHT_TRY(check_bounds());
    if (!sizes.present()) return bad("expected the sizes of a tensor but got none");
    if (!order.present()) return bad("expected the dim_order of a tensor but got none");
    uint32_t rank = sizes.size();
    if (rank > PENLIGHT_MAX_RANK)
        return bad("expected a rank of at most %d but got %u", PENLIGHT_MAX_RANK, rank);
    if (order.size() != rank)
        return bad("expected a dim_order of %u dimensions, as the sizes, but got %u", rank,
                   order.size());
    uint32_t seen = 0;
    for (uint32_t d = 0; d < rank; d++) {
        if (sizes[d] < 0) return bad("expected a size of at least 0 but got %d", sizes[d]);
        if (order[d] < rank) seen |= 1u << order[d];
    }
    if (seen != (1u << rank) - 1)
        return bad("expected a dim_order that names each of %u dimensions once but got another",
                   rank);
    return Status::ok;
}

Status Verifier::check_storage(Table tensor) {
    using T = schema::Tensor;
    TensorShape shape;
    if (!shape_of(tensor, &shape))
        return bad("expected a tensor that fits in memory but got one of too many bytes");
    auto buffer = tensor.get<uint32_t>(T::data_buffer_idx);
    Table allocation = tensor.table(T::allocation_info);
    Table extra = tensor.table(T::extra_tensor_info);
    auto location = extra.get<int8_t>(schema::ExtraTensorInfo::location);
    auto device = extra.get<int8_t>(schema::ExtraTensorInfo::device_type);
    (void)extra.string(schema::ExtraTensorInfo::fully_qualified_name);
    PENLIGHT_TRY(check_bounds());
    if (location != 0)
        return location == 1
                   ? fail(Status::unsupported,
                          "expected a tensor inside the file but got one stored elsewhere; %s",
                          ask_static)
                   : bad("expected a location of 0 or 1 but got %d", location);
    if (device != 0)
        return device == 1 ? fail(Status::unsupported,
                                  "expected a tensor on the CPU but got one on another device; %s",
                                  ask_static)
                           : bad("expected a device of 0 or 1 but got %d", device);
    if (allocation.present()) return check_planned(tensor, allocation, shape);
    if (buffer == 0) return Status::ok;
    return check_constant(buffer, shape, item_size(tensor.get<int8_t>(T::scalar_type)));
}

Status Verifier::check_constant(uint32_t index, const TensorShape& shape, size_t alignment) {
    Bytes data = constant_bytes(program_, index);
    if (!data.data) return bad("expected the index of a constant but got %u", index);
    if (static_cast<uint64_t>(shape.nbytes) > data.size)
        return bad(
            "expected at most %zu bytes, which is what constant %u has, but got a tensor of "
            "%lld",
            data.size, index, static_cast<long long>(shape.nbytes));
    if (shape.nbytes > 0 && reinterpret_cast<uintptr_t>(data.data) % alignment != 0)
        return bad("expected constant %u to be aligned to %zu bytes but it is not", index,
                   alignment);
    return Status::ok;
}

Status Verifier::check_planned(Table tensor, Table allocation, const TensorShape& shape) {
    using A = schema::AllocationDetails;
    auto id = allocation.get<uint32_t>(A::memory_id);
    uint64_t offset = allocation.get<uint32_t>(A::memory_offset_low) |
                      uint64_t{allocation.get<uint32_t>(A::memory_offset_high)} << 32;
    PENLIGHT_TRY(check_bounds());
    if (id == 0 || id >= memory_sizes_.size())
        return bad("expected a memory from 1 to %u but got %u",
                   memory_sizes_.size() > 0 ? memory_sizes_.size() - 1 : 0, id);
    auto size = static_cast<uint64_t>(memory_sizes_[id]);
    if (offset > size || static_cast<uint64_t>(shape.nbytes) > size - offset)
        return bad(
            "expected a tensor inside memory %u of %llu bytes but got offset %llu and %lld "
            "bytes",
            id, static_cast<unsigned long long>(size), static_cast<unsigned long long>(offset),
            static_cast<long long>(shape.nbytes));
    size_t alignment = item_size(tensor.get<int8_t>(schema::Tensor::scalar_type));
    if (offset % alignment != 0)
        return bad("expected an offset that is a multiple of %zu but got %llu", alignment,
                   static_cast<unsigned long long>(offset));
    auto index = tensor.get<uint32_t>(schema::Tensor::data_buffer_idx);
    if (index == 0) return Status::ok;
    Table extra = tensor.table(schema::Tensor::extra_tensor_info);
    auto list = extra.get<uint64_t>(schema::ExtraTensorInfo::mutable_data_segments_idx);
    Bytes data = mutable_bytes(program_, list, index);
    if (!data.data)
        return bad("expected the index of initial data but got %u of list %llu", index,
                   static_cast<unsigned long long>(list));
    if (static_cast<uint64_t>(shape.nbytes) > data.size)
        return bad("expected at most %zu bytes, which is what the initial data has, but got %lld",
                   data.size, static_cast<long long>(shape.nbytes));
    return Status::ok;
}

Status Verifier::check_operators() {
    PENLIGHT_TRY(spend(operators_.size()));
    for (uint32_t i = 0; i < operators_.size(); i++) {
        enter("operator", i);
        PENLIGHT_TRY(check_name(operators_[i].string(schema::Operator::name)));
        auto overload = operators_[i].string(schema::Operator::overload);
        if (overload.data() && !overload.empty()) PENLIGHT_TRY(check_name(overload));
        PENLIGHT_TRY(check_bounds());
    }
    item_ = nullptr;
    return Status::ok;
}

Status Verifier::check_delegates() {
    using Delegate = schema::BackendDelegate;
    PENLIGHT_TRY(spend(delegates_.size()));
    for (uint32_t i = 0; i < delegates_.size(); i++) {
        enter("delegate", i);
        Table delegate = delegates_[i];
        PENLIGHT_TRY(check_name(delegate.string(Delegate::id)));
        Table reference = delegate.table(Delegate::processed);
        PENLIGHT_TRY(check_bounds());
        if (!reference.present()) return bad("expected a reference to its data but got none");
        auto location = reference.get<int8_t>(schema::BackendDelegateDataReference::location);
        auto index = reference.get<uint32_t>(schema::BackendDelegateDataReference::index);
        PENLIGHT_TRY(check_bounds());
        if (location < 0 || location > 1)
            return bad("expected a location of 0 or 1 but got %d", location);
        if (!delegate_bytes(program_, reference).data)
            return bad("expected the index of its data but got %u", index);
        TableVector specs = delegate.tables(Delegate::compile_specs);
        PENLIGHT_TRY(check_bounds());
        PENLIGHT_TRY(spend(specs.size()));
        for (uint32_t s = 0; s < specs.size(); s++) {
            PENLIGHT_TRY(check_name(specs[s].string(schema::CompileSpec::key)));
            (void)specs[s].vector<std::byte>(schema::CompileSpec::value);
        }
        PENLIGHT_TRY(check_bounds());
    }
    item_ = nullptr;
    return Status::ok;
}

Status Verifier::check_chain(Table chain, size_t index) {
    enter("chain", index);
    TableVector instructions = chain.tables(schema::Chain::instructions);
    PENLIGHT_TRY(check_bounds());
    PENLIGHT_TRY(spend(instructions.size()));
    for (uint32_t i = 0; i < instructions.size(); i++) {
        enter("instruction", i);
        PENLIGHT_TRY(check_instruction(instructions[i], instructions.size()));
        PENLIGHT_TRY(check_bounds());
    }
    return Status::ok;
}

Status Verifier::check_instruction(Table instruction, uint32_t chain_length) {
    using Kinds = schema::InstructionArguments;
    auto kind = static_cast<Kinds>(instruction.get<uint8_t>(schema::Instruction::instr_args_type));
    Table body = instruction.table(schema::Instruction::instr_args);
    PENLIGHT_TRY(check_bounds());
    if (kind < Kinds::KernelCall || kind > Kinds::FreeCall)
        return bad("expected a kind of instruction from 1 to 5 but got %d", static_cast<int>(kind));
    if (!body.present()) return bad("expected what the instruction does but got nothing");
    switch (kind) {
        case Kinds::KernelCall:
            PENLIGHT_TRY(check_index(body.get<int32_t>(schema::KernelCall::op_index),
                                     operators_.size(), "an operator"));
            return check_value_indices(body.vector<int32_t>(schema::KernelCall::args),
                                       "an argument");
        case Kinds::DelegateCall:
            PENLIGHT_TRY(check_index(body.get<int32_t>(schema::DelegateCall::delegate_index),
                                     delegates_.size(), "a delegate"));
            return check_value_indices(body.vector<int32_t>(schema::DelegateCall::args),
                                       "an argument");
        case Kinds::MoveCall:
            PENLIGHT_TRY(check_index(body.get<int32_t>(schema::MoveCall::move_from), values_.size(),
                                     "a value to move"));
            return check_index(body.get<int32_t>(schema::MoveCall::move_to), values_.size(),
                               "a value to move to");
        case Kinds::JumpFalseCall:
            PENLIGHT_TRY(check_index(body.get<int32_t>(schema::JumpFalseCall::cond_value_index),
                                     values_.size(), "a condition"));
            // One past the last instruction ends the chain.
            return check_index(body.get<int32_t>(schema::JumpFalseCall::destination_instruction),
                               size_t{chain_length} + 1, "an instruction");
        default:
            return check_index(body.get<int32_t>(schema::FreeCall::value_index), values_.size(),
                               "a value to free");
    }
}

}  // namespace penlight
