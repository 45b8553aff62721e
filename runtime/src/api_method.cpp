// The C interface to methods: checks arguments, and passes them on.
#include <cstdio>

#include "method.h"

namespace penlight {

namespace {

penlight_status give(Status status) { return static_cast<penlight_status>(status); }

penlight_status null_argument(const char* function, const char* what, penlight_error* error) {
    return give(report(error, Status::invalid_argument, function,
                       "expected %s but got null; pass one", what));
}

constexpr penlight_tag tag_of(schema::KernelTypes type) {
    switch (type) {
        case schema::KernelTypes::Int: return PENLIGHT_INT;
        case schema::KernelTypes::Bool: return PENLIGHT_BOOLEAN;
        case schema::KernelTypes::Double: return PENLIGHT_REAL;
        case schema::KernelTypes::Tensor: return PENLIGHT_TENSOR;
        case schema::KernelTypes::String: return PENLIGHT_STRING;
        case schema::KernelTypes::IntList: return PENLIGHT_INT_LIST;
        case schema::KernelTypes::DoubleList: return PENLIGHT_REAL_LIST;
        case schema::KernelTypes::BoolList: return PENLIGHT_BOOL_LIST;
        case schema::KernelTypes::TensorList: return PENLIGHT_TENSOR_LIST;
        case schema::KernelTypes::OptionalTensorList: return PENLIGHT_OPTIONAL_TENSOR_LIST;
        default: return PENLIGHT_NONE;
    }
}

Status plan_named(const penlight_program& program, const char* name, Table* plan,
                  penlight_error* error) {
    *plan = find_plan(program, name);
    if (plan->present()) return Status::ok;
    return report(error, Status::not_found, program.label,
                  "expected a method of the program but got \"%s\"; list its methods",
                  Printable(name).text());
}

Status describe(const penlight_program& program, const char* method, uint16_t list, size_t index,
                penlight_value_info* info, penlight_error* error) {
    Table plan;
    PENLIGHT_TRY(plan_named(program, method, &plan, error));
    auto indices = plan.vector<int32_t>(list);
    if (index >= indices.size())
        return report(error, Status::invalid_argument, program.label,
                      "expected an index below %u but got %zu; ask for the number of inputs and "
                      "outputs",
                      indices.size(), index);
    auto values = plan.tables(schema::ExecutionPlan::values);
    auto value = static_cast<uint32_t>(indices[static_cast<uint32_t>(index)]);
    *info = {};
    info->tag = tag_of(value_type(values, value));
    info->dtype = -1;
    if (info->tag != PENLIGHT_TENSOR) return Status::ok;
    Table tensor = values[value].table(schema::EValue::val);
    auto sizes = tensor.vector<int32_t>(schema::Tensor::sizes);
    auto order = tensor.vector<uint8_t>(schema::Tensor::dim_order);
    TensorShape shape{};
    (void)shape_of(tensor, &shape);
    info->dtype = tensor.get<int8_t>(schema::Tensor::scalar_type);
    info->rank = static_cast<int32_t>(sizes.size());
    for (uint32_t d = 0; d < sizes.size() && d < PENLIGHT_MAX_RANK; d++) {
        info->sizes[d] = sizes[d];
        info->dim_order[d] = order[d];
    }
    info->dynamism =
        static_cast<penlight_dynamism>(tensor.get<int8_t>(schema::Tensor::shape_dynamism));
    info->nbytes = static_cast<size_t>(shape.nbytes);
    info->name = tensor.table(schema::Tensor::extra_tensor_info)
                     .string(schema::ExtraTensorInfo::fully_qualified_name)
                     .data();
    return Status::ok;
}

}  // namespace

}  // namespace penlight

using penlight::give;
using penlight::null_argument;

penlight_status penlight_program_method_counts(const penlight_program* program, const char* method,
                                               size_t* inputs, size_t* outputs,
                                               penlight_error* error) {
    using penlight::schema::ExecutionPlan;
    if (!program || !method || !inputs || !outputs)
        return null_argument("penlight_program_method_counts",
                             "a program, a method and places for the counts", error);
    penlight::Table plan;
    auto status = penlight::plan_named(*program, method, &plan, error);
    if (status != penlight::Status::ok) return give(status);
    *inputs = plan.vector<int32_t>(ExecutionPlan::inputs).size();
    *outputs = plan.vector<int32_t>(ExecutionPlan::outputs).size();
    return PENLIGHT_OK;
}

penlight_status penlight_program_input_info(const penlight_program* program, const char* method,
                                            size_t index, penlight_value_info* info,
                                            penlight_error* error) {
    if (!program || !method || !info)
        return null_argument("penlight_program_input_info",
                             "a program, a method and a place for the facts", error);
    return give(penlight::describe(*program, method, penlight::schema::ExecutionPlan::inputs, index,
                                   info, error));
}

penlight_status penlight_program_output_info(const penlight_program* program, const char* method,
                                             size_t index, penlight_value_info* info,
                                             penlight_error* error) {
    if (!program || !method || !info)
        return null_argument("penlight_program_output_info",
                             "a program, a method and a place for the facts", error);
    return give(penlight::describe(*program, method, penlight::schema::ExecutionPlan::outputs,
                                   index, info, error));
}

penlight_status penlight_program_method_memory(const penlight_program* program, const char* method,
                                               penlight_memory_info* info, penlight_error* error) {
    if (!program || !method || !info)
        return null_argument("penlight_program_method_memory",
                             "a program, a method and a place for the answer", error);
    // Nothing of the program changes but its reference count.
    return give(
        penlight::measure_method(const_cast<penlight_program*>(program), method, info, error));
}

penlight_status penlight_method_load(penlight_program* program, const char* name,
                                     const penlight_allocator* allocator, penlight_method** method,
                                     penlight_error* error) {
    if (!program || !name || !method)
        return null_argument("penlight_method_load", "a program, a name and a place for the method",
                             error);
    if (allocator && (!allocator->allocate || !allocator->release))
        return null_argument("penlight_method_load", "an allocator with both functions", error);
    return give(penlight::load_method(program, name, allocator, nullptr, method, error));
}

penlight_status penlight_method_load_sharing(penlight_method* with, const char* name,
                                             penlight_method** method, penlight_error* error) {
    if (!with || !name || !method)
        return null_argument("penlight_method_load_sharing",
                             "a method, a name and a place for the second method", error);
    return give(penlight::load_method(with->program, name, &with->allocator, with, method, error));
}

void penlight_method_free(penlight_method* method) {
    if (method) penlight::free_method(method);
}

penlight_status penlight_method_reset(penlight_method* method, penlight_error* error) {
    if (!method) return null_argument("penlight_method_reset", "a method", error);
    for (size_t i = 0; i < method->counts.arenas; i++) method->arenas[i].zero();
    penlight::initialise_state(*method);
    return PENLIGHT_OK;
}

penlight_status penlight_method_set_input(penlight_method* method, size_t index,
                                          const penlight_value* value, penlight_error* error) {
    if (!method || !value)
        return null_argument("penlight_method_set_input", "a method and a value", error);
    return give(penlight::set_input(*method, index, *value, error));
}

penlight_status penlight_method_set_input_tensor(penlight_method* method, size_t index,
                                                 const penlight_tensor* tensor,
                                                 penlight_error* error) {
    if (!method || !tensor)
        return null_argument("penlight_method_set_input_tensor", "a method and a tensor", error);
    return give(penlight::set_input_tensor(*method, index, *tensor, error));
}

penlight_status penlight_method_set_output_data(penlight_method* method, size_t index, void* data,
                                                size_t size, penlight_error* error) {
    if (!method) return null_argument("penlight_method_set_output_data", "a method", error);
    return give(penlight::set_output_data(*method, index, data, size, error));
}

penlight_status penlight_method_execute(penlight_method* method, penlight_error* error) {
    if (!method) return null_argument("penlight_method_execute", "a method", error);
    return give(penlight::execute_method(*method, error));
}

penlight_status penlight_method_output(const penlight_method* method, size_t index,
                                       const penlight_value** value, penlight_error* error) {
    if (!method || !value)
        return null_argument("penlight_method_output", "a method and a place for the value", error);
    if (index >= method->counts.outputs)
        return give(penlight::report(error, penlight::Status::invalid_argument, method->label,
                                     "expected an output below %zu but got %zu; ask for the number "
                                     "of outputs",
                                     method->counts.outputs, index));
    *value = method->outputs[index].value;
    return PENLIGHT_OK;
}

size_t penlight_method_state_count(const penlight_method* method) {
    return method ? method->state_count : 0;
}

penlight_status penlight_method_state(penlight_method* method, size_t index,
                                      penlight_tensor** tensor, penlight_error* error) {
    if (!method || !tensor)
        return null_argument("penlight_method_state", "a method and a place for the tensor", error);
    if (index >= method->state_count)
        return give(penlight::report(error, penlight::Status::invalid_argument, method->label,
                                     "expected a state below %zu but got %zu; ask for their number",
                                     method->state_count, index));
    *tensor = method->states[index];
    return PENLIGHT_OK;
}
