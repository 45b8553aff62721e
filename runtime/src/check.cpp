// Which values fit which parameters, and the small facts about tensors that load and run share.
#include "method.h"

namespace penlight {

namespace {

bool is_empty(const Tensor& tensor) {
    for (int32_t d = 0; d < tensor.rank; d++)
        if (tensor.sizes[d] == 0) return true;
    return false;
}

bool readable(const Value& value, bool memory) {
    if (value.tag != PENLIGHT_TENSOR) return false;
    const auto& tensor = *static_cast<const Tensor*>(value.as.tensor);
    return !memory || tensor.data || is_empty(tensor);
}

bool writable(const Value& value, bool memory) {
    if (value.tag != PENLIGHT_TENSOR || value.as.tensor->is_constant) return false;
    // Without memory nothing may be written; resize() grants none beyond the capacity.
    return !memory || value.as.tensor->data || value.as.tensor->capacity == 0;
}

bool numeric(const Value& value) {
    return value.tag == PENLIGHT_INT || value.tag == PENLIGHT_BOOLEAN || value.tag == PENLIGHT_REAL;
}

template <class F> bool all_items(const Value& list, F fits) {
    for (uint32_t i = 0; i < list.count; i++)
        if (!fits(*list.as.values[i])) return false;
    return true;
}

}  // namespace

bool accepts(Parameter parameter, const Value& value, bool memory) {
    if (value.tag == PENLIGHT_NONE) return parameter.optional;
    switch (parameter.kind) {
        case Kind::tensor: return readable(value, memory);
        case Kind::out_tensor: return writable(value, memory);
        case Kind::scalar:
        case Kind::real:
        case Kind::symbol: return numeric(value);
        case Kind::integer: return value.tag == PENLIGHT_INT;
        case Kind::boolean: return value.tag == PENLIGHT_BOOLEAN;
        case Kind::string: return value.tag == PENLIGHT_STRING;
        case Kind::real_list: return value.tag == PENLIGHT_REAL_LIST;
        case Kind::bool_list: return value.tag == PENLIGHT_BOOL_LIST;
        case Kind::int_list:
            return value.tag == PENLIGHT_INT_LIST &&
                   all_items(value, [](const Value& item) { return item.tag == PENLIGHT_INT; });
        case Kind::tensor_list:
            return value.tag == PENLIGHT_TENSOR_LIST &&
                   all_items(value, [&](const Value& item) { return readable(item, memory); });
        case Kind::out_tensor_list:
            return value.tag == PENLIGHT_TENSOR_LIST &&
                   all_items(value, [&](const Value& item) { return writable(item, memory); });
        case Kind::optional_tensor_list:
            return (value.tag == PENLIGHT_OPTIONAL_TENSOR_LIST ||
                    value.tag == PENLIGHT_TENSOR_LIST) &&
                   all_items(value, [&](const Value& item) {
                       return item.tag == PENLIGHT_NONE || readable(item, memory);
                   });
    }
    return false;
}

bool has_memory(const Value& value) {
    if (value.tag == PENLIGHT_TENSOR) return readable(value, true);
    if (value.tag == PENLIGHT_TENSOR_LIST || value.tag == PENLIGHT_OPTIONAL_TENSOR_LIST)
        return all_items(value, [](const Value& item) {
            return item.tag != PENLIGHT_TENSOR || readable(item, true);
        });
    return true;
}

const char* tag_name(penlight_tag tag) {
    switch (tag) {
        case PENLIGHT_NONE: return "nothing";
        case PENLIGHT_INT: return "an integer";
        case PENLIGHT_BOOLEAN: return "a truth value";
        case PENLIGHT_REAL: return "a number";
        case PENLIGHT_TENSOR: return "a tensor";
        case PENLIGHT_STRING: return "text";
        case PENLIGHT_INT_LIST: return "a list of integers";
        case PENLIGHT_REAL_LIST: return "a list of numbers";
        case PENLIGHT_BOOL_LIST: return "a list of truth values";
        case PENLIGHT_TENSOR_LIST: return "a list of tensors";
        case PENLIGHT_OPTIONAL_TENSOR_LIST: return "a list of optional tensors";
    }
    return "something unknown";
}

const char* kind_name(Kind kind) {
    switch (kind) {
        case Kind::tensor: return "a tensor";
        case Kind::out_tensor: return "a tensor that may be written";
        case Kind::scalar:
        case Kind::real: return "a number";
        case Kind::symbol: return "a number that may be written";
        case Kind::integer: return "an integer";
        case Kind::boolean: return "a truth value";
        case Kind::string: return "text";
        case Kind::int_list: return "a list of integers";
        case Kind::real_list: return "a list of numbers";
        case Kind::bool_list: return "a list of truth values";
        case Kind::tensor_list: return "a list of tensors";
        case Kind::out_tensor_list: return "a list of tensors that may be written";
        case Kind::optional_tensor_list: return "a list of optional tensors";
    }
    return "something unknown";
}

void set_strides(Tensor& tensor) {
    int64_t stride = 1;
    for (int32_t i = tensor.rank - 1; i >= 0; i--) {
        int32_t d = tensor.dim_order[i];
        tensor.strides[d] = stride;
        stride *= tensor.sizes[d] > 1 ? tensor.sizes[d] : 1;
    }
}

}  // namespace penlight
