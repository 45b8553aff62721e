// Loading a method, second part: its values, and what is an input or output.
#include "load.h"

namespace penlight {

namespace {
constexpr const char* changed = "expected the file as it was opened but got another; open it again";
}

Status Loader::make_values() {
    for (uint32_t i = 0; i < values_.size(); i++) PENLIGHT_TRY(make_value(i));
    return Status::ok;
}

Status Loader::make_value(uint32_t index) {
    using Types = schema::KernelTypes;
    Value& value = method_.values[index];
    Table table = values_[index];
    Table body = table.table(schema::EValue::val);
    switch (value_type(values_, index)) {
        case Types::Int:
            value.tag = PENLIGHT_INT;
            value.as.integer = body.get<int64_t>(schema::Int::int_val);
            return Status::ok;
        case Types::Bool:
            value.tag = PENLIGHT_BOOLEAN;
            value.as.boolean = body.get<uint8_t>(schema::Bool::bool_val) != 0;
            return Status::ok;
        case Types::Double:
            value.tag = PENLIGHT_REAL;
            value.as.real = body.get<double>(schema::Double::double_val);
            return Status::ok;
        case Types::String: {
            std::string_view text = body.string(schema::String::string_val);
            value.tag = PENLIGHT_STRING;
            value.count = static_cast<uint32_t>(text.size());
            value.as.string = text.data() ? text.data() : "";
            return Status::ok;
        }
        case Types::BoolList: {
            auto items = body.vector<uint8_t>(schema::BoolList::items);
            value.tag = PENLIGHT_BOOL_LIST;
            value.count = items.size();
            value.as.booleans = reinterpret_cast<const uint8_t*>(items.data);
            return Status::ok;
        }
        case Types::Tensor: return make_tensor(index, body);
        case Types::DoubleList:
            return make_numbers(index, body.vector<double>(schema::DoubleList::items));
        case Types::IntList:
            value.tag = PENLIGHT_INT_LIST;
            return make_list(index, body.vector<int64_t>(schema::IntList::items));
        case Types::TensorList:
            value.tag = PENLIGHT_TENSOR_LIST;
            return make_list(index, body.vector<int32_t>(schema::TensorList::items));
        case Types::OptionalTensorList:
            value.tag = PENLIGHT_OPTIONAL_TENSOR_LIST;
            return make_list(index, body.vector<int32_t>(schema::OptionalTensorList::items));
        default: value.tag = PENLIGHT_NONE; return Status::ok;
    }
}

Status Loader::make_numbers(uint32_t index, Vector<double> items) {
    Value& value = method_.values[index];
    double* copy = reals_.draw(items.size());
    if (!copy) return fail(Status::invalid_program, "value", index, "%s", changed);
    for (uint32_t i = 0; i < items.size(); i++) copy[i] = items[i];
    value.tag = PENLIGHT_REAL_LIST;
    value.count = items.size();
    value.as.reals = copy;
    return Status::ok;
}

template <class T> Status Loader::make_list(uint32_t index, Vector<T> items) {
    Value& value = method_.values[index];
    Value** list = pointers_.draw(items.size());
    if (!list) return fail(Status::invalid_program, "value", index, "%s", changed);
    for (uint32_t i = 0; i < items.size(); i++) {
        // -1 is how the file writes an absent tensor.
        bool absent = items[i] < 0 || static_cast<uint64_t>(items[i]) >= method_.counts.values;
        list[i] = absent ? method_.nothing : &method_.values[items[i]];
    }
    value.count = items.size();
    value.as.values = list;
    return Status::ok;
}

Status Loader::make_tensor(uint32_t index, Table table) {
    using T = schema::Tensor;
    auto sizes = table.vector<int32_t>(T::sizes);
    auto order = table.vector<uint8_t>(T::dim_order);
    uint32_t rank = sizes.size();
    TensorShape shape;
    Tensor* tensor = tensors_.draw(1);
    int64_t* dims = dims_.draw(3 * size_t{rank});
    uint8_t* dim_order = orders_.draw(rank);
    if (!tensor || !dims || !dim_order || order.size() != rank || !shape_of(table, &shape))
        return fail(Status::invalid_program, "value", index, "%s", changed);
    int64_t* max_sizes = dims + 2 * size_t{rank};
    tensor->sizes = dims;
    tensor->strides = dims + rank;
    tensor->dim_order = dim_order;
    tensor->max_sizes = max_sizes;
    tensor->dtype = table.get<int8_t>(T::scalar_type);
    tensor->rank = static_cast<int32_t>(rank);
    tensor->dynamism = static_cast<uint8_t>(table.get<int8_t>(T::shape_dynamism));
    tensor->capacity = static_cast<size_t>(shape.nbytes);
    for (uint32_t d = 0; d < rank; d++) {
        dims[d] = max_sizes[d] = sizes[d];
        dim_order[d] = order[d] < rank ? order[d] : 0;
    }
    set_strides(*tensor);
    auto buffer = table.get<uint32_t>(T::data_buffer_idx);
    if (buffer != 0 && !table.has(T::allocation_info)) {
        Bytes data = constant_bytes(program_, buffer);
        if (data.size < tensor->capacity)
            return fail(Status::invalid_program, "value", index, "%s", changed);
        // Never written: accepts() refuses it wherever a kernel would.
        tensor->data = const_cast<std::byte*>(data.data);
        tensor->is_constant = 1;
    }
    Value& value = method_.values[index];
    value.tag = PENLIGHT_TENSOR;
    value.as.tensor = tensor;
    return Status::ok;
}

Status Loader::make_interface() {
    auto inputs = method_.plan.vector<int32_t>(schema::ExecutionPlan::inputs);
    auto outputs = method_.plan.vector<int32_t>(schema::ExecutionPlan::outputs);
    for (uint32_t i = 0; i < inputs.size(); i++) {
        auto index = static_cast<uint32_t>(inputs[i]);
        if (index >= method_.counts.values)
            return fail(Status::invalid_program, "input", i, "%s", changed);
        Input& input = method_.inputs[i];
        input.value = &method_.values[index];
        method_.flags[index] |= is_input;
        if (input.value->tag != PENLIGHT_TENSOR) continue;
        input.tensor = static_cast<Tensor*>(input.value->as.tensor);
        Table table = values_[index].table(schema::EValue::val);
        input.planned = table.has(schema::Tensor::allocation_info);
    }
    for (uint32_t i = 0; i < outputs.size(); i++) {
        auto index = static_cast<uint32_t>(outputs[i]);
        if (index >= method_.counts.values)
            return fail(Status::invalid_program, "output", i, "%s", changed);
        method_.outputs[i].value = &method_.values[index];
    }
    return Status::ok;
}

void Loader::find_states() {
    for (uint32_t i = 0; i < values_.size(); i++) {
        if (method_.values[i].tag != PENLIGHT_TENSOR || (method_.flags[i] & is_input)) continue;
        if (is_state(values_[i].table(schema::EValue::val)) &&
            method_.state_count < method_.counts.states)
            method_.states[method_.state_count++] =
                static_cast<Tensor*>(method_.values[i].as.tensor);
    }
}

// Tensors to which the file gives no memory: inputs take the caller's, views that of another
// tensor, and the rest, usually outputs, get some here.
Status Loader::place_unplanned() {
    size_t total = 0;
    for (uint32_t i = 0; i < values_.size(); i++) {
        if (method_.values[i].tag != PENLIGHT_TENSOR) continue;
        Table table = values_[i].table(schema::EValue::val);
        auto& tensor = *static_cast<Tensor*>(method_.values[i].as.tensor);
        if (tensor.is_constant || table.has(schema::Tensor::allocation_info)) continue;
        if (method_.flags[i] & (is_input | is_view)) {
            tensor.capacity = 0;
            continue;
        }
        if (tensor.dynamism == PENLIGHT_DYNAMIC_UNBOUND)
            return fail(Status::unsupported, "value", i,
                        "expected a bound on a dynamic shape but got none; export with an upper "
                        "bound in dynamic_shapes");
        if (tensor.capacity > SIZE_MAX / 4 - total)
            return fail(Status::invalid_program, "value", i,
                        "expected outputs that fit in memory but got more; export the model again");
        total += align_up(tensor.capacity, 64);
    }
    method_.unplanned_size = total;
    return Status::ok;
}

}  // namespace penlight
