// What goes into a method and comes out: the caller's data, bound or copied.
#include <cstdio>
#include <cstring>

#include "method.h"

namespace penlight {

namespace {

// Names an input in messages.
struct Place {
    char text[200];
    Place(const penlight_method& method, const char* what, size_t index) {
        std::snprintf(text, sizeof text, "%s, %s %zu", method.label, what, index);
    }
};

// Copy between two layouts of one shape; strides in elements.
void copy_strided(std::byte* to, const int64_t* to_strides, const std::byte* from,
                  const int64_t* from_strides, const int64_t* sizes, int32_t rank, size_t item) {
    if (rank == 0) {
        std::memcpy(to, from, item);
        return;
    }
    for (int64_t i = 0; i < sizes[0]; i++)
        copy_strided(to + i * to_strides[0] * static_cast<int64_t>(item), to_strides + 1,
                     from + i * from_strides[0] * static_cast<int64_t>(item), from_strides + 1,
                     sizes + 1, rank - 1, item);
}

bool same_strides(const Tensor& tensor, const int64_t* sizes, const int64_t* strides) {
    // Along a dimension of one element the stride does not matter.
    int64_t expected = 1;
    for (int32_t i = tensor.rank - 1; i >= 0; i--) {
        int32_t d = tensor.dim_order[i];
        if (sizes[d] == 0) return true;
        if (sizes[d] > 1 && strides[d] != expected) return false;
        expected *= sizes[d];
    }
    return true;
}

// Fills input.strides, and learns how many bytes the data spans.
Status read_layout(const penlight_tensor& given, Input& input, const Place& place, size_t* span,
                   penlight_error* error) {
    uint32_t seen = 0;
    int64_t stride = 1, last = 0;
    for (int32_t i = given.rank - 1; i >= 0; i--) {
        int32_t d = given.dim_order ? given.dim_order[i] : i;
        if (d >= given.rank || (seen & (1u << d)))
            return report(error, Status::invalid_argument, place.text,
                          "expected a dim_order that names each dimension once but got %d; correct "
                          "the tensor",
                          d);
        seen |= 1u << d;
        input.strides[d] = given.strides ? given.strides[d] : stride;
        stride *= given.sizes[d] > 1 ? given.sizes[d] : 1;
    }
    bool empty = false;
    for (int32_t d = 0; d < given.rank; d++) {
        int64_t reach = 0, steps = given.sizes[d] - 1;
        empty = empty || given.sizes[d] == 0;
        if (input.strides[d] < 0 || !checked_mul(input.strides[d], steps > 0 ? steps : 0, &reach) ||
            !checked_add(last, reach, &last) || last > INT64_MAX / 16)
            return report(error, Status::invalid_argument, place.text,
                          "expected strides of at least 0 that fit in memory but got %lld at "
                          "dimension %d; give a contiguous tensor",
                          static_cast<long long>(input.strides[d]), d);
    }
    *span = empty ? 0 : (static_cast<size_t>(last) + 1) * item_size(given.dtype);
    return Status::ok;
}

Status check_shape(const Tensor& tensor, const penlight_tensor& given, const Place& place,
                   penlight_error* error) {
    if (given.dtype != tensor.dtype)
        return report(error, Status::invalid_argument, place.text,
                      "expected a tensor of %s but got %s; convert it", dtype_name(tensor.dtype),
                      dtype_name(given.dtype));
    if (given.rank != tensor.rank)
        return report(error, Status::invalid_argument, place.text,
                      "expected a tensor of rank %d but got %d; reshape it", tensor.rank,
                      given.rank);
    if (given.rank > 0 && !given.sizes)
        return report(error, Status::invalid_argument, place.text,
                      "expected the sizes of a tensor but got null; fill them");
    int64_t extent = static_cast<int64_t>(item_size(tensor.dtype));
    for (int32_t d = 0; d < given.rank; d++) {
        int64_t size = given.sizes[d], bound = tensor.max_sizes[d];
        bool fits = tensor.dynamism == PENLIGHT_STATIC          ? size == bound
                    : tensor.dynamism == PENLIGHT_DYNAMIC_BOUND ? size >= 0 && size <= bound
                                                                : size >= 0;
        if (!fits)
            return report(error, Status::invalid_argument, place.text,
                          "expected a size of %s%lld at dimension %d but got %lld; %s",
                          tensor.dynamism == PENLIGHT_STATIC ? "" : "at most ",
                          static_cast<long long>(bound), d, static_cast<long long>(size),
                          tensor.dynamism == PENLIGHT_STATIC
                              ? "reshape it, or export with dynamic_shapes"
                              : "give less, or export with a larger bound");
        if (!checked_mul(extent, size > 1 ? size : 1, &extent))
            return report(error, Status::invalid_argument, place.text,
                          "expected a tensor that fits in memory but got one that does not; give "
                          "less");
    }
    return Status::ok;
}

// Memory that the next run writes while it reads its inputs.
bool belongs_to(const penlight_method& method, const void* data) {
    auto inside = [at = reinterpret_cast<uintptr_t>(data)](const Block& block) {
        return at - reinterpret_cast<uintptr_t>(block.data()) < block.size();
    };
    for (size_t i = 0; i < method.counts.arenas; i++)
        if (inside(method.arenas[i])) return true;
    return inside(method.unplanned);
}

size_t bytes_of(const Tensor& tensor, const int64_t* sizes) {
    size_t bytes = item_size(tensor.dtype);
    for (int32_t d = 0; d < tensor.rank; d++) bytes *= static_cast<size_t>(sizes[d]);
    return bytes;
}

}  // namespace

Status set_input_tensor(penlight_method& method, size_t index, const penlight_tensor& given,
                        penlight_error* error) {
    Place place(method, "input", index);
    if (index >= method.counts.inputs)
        return report(error, Status::invalid_argument, place.text,
                      "expected an input below %zu but got %zu; ask for the number of inputs",
                      method.counts.inputs, index);
    Input& input = method.inputs[index];
    if (!input.tensor)
        return report(error, Status::invalid_argument, place.text,
                      "expected %s but got a tensor; give a plain value",
                      tag_name(input.value->tag));
    const Tensor& tensor = *input.tensor;
    PENLIGHT_TRY(check_shape(tensor, given, place, error));
    size_t span = 0;
    PENLIGHT_TRY(read_layout(given, input, place, &span, error));
    if (span > 0 && !given.data)
        return report(error, Status::invalid_argument, place.text,
                      "expected %zu bytes of data but got null; point data at them", span);
    if (belongs_to(method, given.data))
        return report(error, Status::invalid_argument, place.text,
                      "expected data outside the method but got its own memory, such as an output; "
                      "copy it first");
    if (given.capacity != 0 && given.capacity < span)
        return report(error, Status::invalid_argument, place.text,
                      "expected %zu bytes of data but got %zu; give all of it", span,
                      given.capacity);
    bool aligned = reinterpret_cast<uintptr_t>(given.data) % item_size(tensor.dtype) == 0;
    size_t bytes = bytes_of(tensor, given.sizes);
    input.direct = !input.planned && aligned && same_strides(tensor, given.sizes, input.strides);
    if (input.planned && bytes > tensor.capacity)
        return report(error, Status::invalid_argument, place.text,
                      "expected at most %zu bytes but got %zu; export with a larger bound",
                      tensor.capacity, bytes);
    if (!input.planned && !input.direct && input.staging.size() < bytes &&
        !input.staging.allocate(method.allocator, bytes, 64, false))
        return report(error, Status::out_of_memory, place.text,
                      "expected %zu bytes to lay the tensor out anew but got none; give a "
                      "contiguous tensor",
                      bytes);
    for (int32_t d = 0; d < given.rank; d++) input.sizes[d] = given.sizes[d];
    input.data = given.data;
    input.capacity = bytes;
    input.given = true;
    return Status::ok;
}

Status reserve_staging(penlight_method& method, penlight_error* error) {
    for (size_t i = 0; i < method.counts.inputs; i++) {
        Input& input = method.inputs[i];
        if (!input.tensor || input.planned) continue;
        size_t bytes = bytes_of(*input.tensor, input.tensor->max_sizes);
        if (!input.staging.allocate(method.allocator, bytes, 64, false))
            return report(error, Status::out_of_memory, method.label,
                          "expected %zu bytes for an input but got none; free some", bytes);
    }
    return Status::ok;
}

Status set_input(penlight_method& method, size_t index, const Value& value, penlight_error* error) {
    if (value.tag == PENLIGHT_TENSOR && value.as.tensor)
        return set_input_tensor(method, index, *value.as.tensor, error);
    Place place(method, "input", index);
    if (index >= method.counts.inputs)
        return report(error, Status::invalid_argument, place.text,
                      "expected an input below %zu but got %zu; ask for the number of inputs",
                      method.counts.inputs, index);
    Value& slot = *method.inputs[index].value;
    bool scalar = slot.tag == PENLIGHT_INT || slot.tag == PENLIGHT_BOOLEAN ||
                  slot.tag == PENLIGHT_REAL || slot.tag == PENLIGHT_NONE;
    if (slot.tag == value.tag && scalar) {
        slot.as = value.as;
        return Status::ok;
    }
    // A program specialised on text or a list takes just that, so there is nothing to set.
    if (slot.tag == value.tag && slot.tag == PENLIGHT_STRING && slot.count == value.count &&
        value.as.string && std::memcmp(slot.as.string, value.as.string, slot.count) == 0)
        return Status::ok;
    return report(error, Status::invalid_argument, place.text,
                  "expected %s but got %s%s; give that", tag_name(slot.tag),
                  slot.tag == value.tag ? "another value of " : "", tag_name(value.tag));
}

// At the start of a run: shapes and data of the inputs, in place of what the last run left.
Status bind_inputs(penlight_method& method, penlight_error* error) {
    for (size_t i = 0; i < method.counts.inputs; i++) {
        Input& input = method.inputs[i];
        if (!input.tensor) continue;
        if (!input.given) {
            Place place(method, "input", i);
            return report(error, Status::invalid_argument, place.text,
                          "expected a tensor set since the last run but got none; set every input "
                          "before each run");
        }
    }
    for (size_t i = 0; i < method.counts.inputs; i++) {
        Input& input = method.inputs[i];
        if (!input.tensor) continue;
        Tensor& tensor = *input.tensor;
        for (int32_t d = 0; d < tensor.rank; d++) tensor.sizes[d] = input.sizes[d];
        set_strides(tensor);
        input.given = false;
        if (!input.planned) {
            tensor.capacity = input.capacity;
            tensor.data = input.direct ? const_cast<void*>(input.data) : input.staging.data();
        }
        if (input.direct) continue;
        Tensor given = tensor;
        given.data = const_cast<void*>(input.data);
        given.strides = input.strides;
        copy_tensor(tensor, given);
    }
    return Status::ok;
}

void copy_tensor(Tensor& to, const Tensor& from) {
    size_t bytes = bytes_of(from, from.sizes);
    if (bytes == 0) return;
    if (same_strides(to, from.sizes, from.strides)) {
        std::memmove(to.data, from.data, bytes);
    } else {
        copy_strided(static_cast<std::byte*>(to.data), to.strides,
                     static_cast<const std::byte*>(from.data), from.strides, from.sizes, from.rank,
                     item_size(from.dtype));
    }
}

Status set_output_data(penlight_method& method, size_t index, void* data, size_t size,
                       penlight_error* error) {
    Place place(method, "output", index);
    if (index >= method.counts.outputs)
        return report(error, Status::invalid_argument, place.text,
                      "expected an output below %zu but got %zu; ask for the number of outputs",
                      method.counts.outputs, index);
    Output& output = method.outputs[index];
    if (output.value->tag != PENLIGHT_TENSOR)
        return report(error, Status::invalid_argument, place.text,
                      "expected an output that is a tensor but got %s; read it after the run",
                      tag_name(output.value->tag));
    if (!data) size = 0;
    if (!output.owned) {
        output.user_data = data;
        output.user_size = size;
        return Status::ok;
    }
    Tensor& tensor = *output.owned;
    bool aligned = reinterpret_cast<uintptr_t>(data) % item_size(tensor.dtype) == 0;
    if (data && (size < output.own_size || !aligned))
        return report(error, Status::invalid_argument, place.text,
                      "expected %zu bytes aligned to %zu but got %zu%s; give more", output.own_size,
                      item_size(tensor.dtype), size, aligned ? "" : ", not aligned");
    tensor.data = data ? data : output.own_data;
    return Status::ok;
}

// At the end of a run: outputs that the plan holds in the arena, copied to where they are wanted.
Status deliver_outputs(penlight_method& method, penlight_error* error) {
    for (size_t i = 0; i < method.counts.outputs; i++) {
        const Output& output = method.outputs[i];
        if (!output.user_data || output.value->tag != PENLIGHT_TENSOR) continue;
        const auto& tensor = *static_cast<const Tensor*>(output.value->as.tensor);
        size_t bytes = bytes_of(tensor, tensor.sizes);
        if (bytes > output.user_size) {
            Place place(method, "output", i);
            return report(error, Status::invalid_argument, place.text,
                          "expected %zu bytes for the output but got %zu; give more", bytes,
                          output.user_size);
        }
        if (bytes > 0 && tensor.data) std::memcpy(output.user_data, tensor.data, bytes);
    }
    return Status::ok;
}

}  // namespace penlight
