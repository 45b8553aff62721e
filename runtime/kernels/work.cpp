#include "work.h"

#include <algorithm>

#include "packed.h"

namespace penlight {

namespace {

const Tensor* tensor_at(const Work& work, uint32_t index) {
    if (index >= work.count || work.args[index]->tag != PENLIGHT_TENSOR) return nullptr;
    return static_cast<const Tensor*>(work.args[index]->as.tensor);
}

int64_t integer_at(const Work& work, uint32_t index) {
    if (index >= work.count || work.args[index]->tag != PENLIGHT_INT) return 0;
    return work.args[index]->as.integer;
}

// The last dimension: how many numbers a row has.
uint64_t width_of(const Tensor& tensor) {
    return tensor.rank > 0 ? static_cast<uint64_t>(tensor.size(tensor.rank - 1)) : 1;
}

uint64_t count_of(const Tensor& tensor) { return static_cast<uint64_t>(tensor.numel()); }

// Part of `bytes`: `used` of `all` rows.
uint64_t share(uint64_t bytes, int64_t used, int64_t all) {
    if (all <= 0 || used <= 0) return 0;
    return bytes / static_cast<uint64_t>(all) * static_cast<uint64_t>(std::min(used, all));
}

void nothing_moves(Work& work) { std::fill(work.bytes, work.bytes + work.count, 0); }

// Reads of its first argument no more than it writes.
void selects(Work& work) {
    if (work.count) work.bytes[0] = std::min(work.bytes[0], work.bytes[work.count - 1]);
}

// ---- matrix products: the result's numbers, each a sum over the inner dimension ----

void product_over(Work& work, uint32_t left) {
    const Tensor* x = tensor_at(work, left);
    const Tensor* out = work.count ? tensor_at(work, work.count - 1) : nullptr;
    if (x && out) work.multiply_adds = count_of(*out) * width_of(*x);
}
void product(Work& work) { product_over(work, 0); }
void added_product(Work& work) { product_over(work, 1); }

// weight [outputs, ...] or, transposed, [inputs, outputs / groups, ...]
void convolution(Work& work) {
    const Tensor* x = tensor_at(work, 0);
    const Tensor* weight = tensor_at(work, 1);
    const Tensor* out = work.count ? tensor_at(work, work.count - 1) : nullptr;
    if (!x || !weight || !out || weight->rank < 1 || weight->size(0) <= 0) return;
    const uint64_t per_channel = count_of(*weight) / static_cast<uint64_t>(weight->size(0));
    const bool transposed =
        work.count > 6 && work.args[6]->tag == PENLIGHT_BOOLEAN && work.args[6]->as.boolean;
    work.multiply_adds = count_of(transposed ? *x : *out) * per_channel;
}

// ---- packed weights (packed.h): uint8 [nbytes], and a format among the later arguments ----

uint64_t packed_elements(const Tensor& weight, const kernels::PackedFormat& format,
                         int64_t inputs) {
    const int64_t block = format.nbytes(kernels::packed_rows, inputs);
    if (block <= 0) return 0;
    return static_cast<uint64_t>(weight.numel() / block * kernels::packed_rows * inputs);
}

bool format_at(const Work& work, uint32_t index, kernels::PackedFormat* format) {
    const Value& value = *work.args[index];
    return value.tag == PENLIGHT_STRING &&
           kernels::parse_packed(std::string_view(value.as.string, value.count), format);
}

uint64_t packed_elements(const Value& value, const kernels::PackedFormat& format, int64_t inputs) {
    uint64_t sum = 0;
    if (value.tag == PENLIGHT_TENSOR) {
        const auto& weight = *static_cast<const Tensor*>(value.as.tensor);
        if (weight.dtype == PENLIGHT_UINT8 && weight.rank == 1)
            sum = packed_elements(weight, format, inputs);
    } else if (value.tag == PENLIGHT_TENSOR_LIST) {
        for (uint32_t i = 0; i < value.count; i++)
            sum += packed_elements(*value.as.values[i], format, inputs);
    }
    return sum;
}

// Linear layers, fused ones too: weights, or lists of them, before their format.
void packed_product(Work& work, uint32_t activations) {
    const Tensor* x = tensor_at(work, activations);
    if (!x || x->rank < 1 || width_of(*x) == 0) return;
    const auto inputs = static_cast<int64_t>(width_of(*x));
    const uint64_t tokens = count_of(*x) / width_of(*x);
    kernels::PackedFormat format{};
    bool known = false;
    for (uint32_t a = work.count; a-- > activations + 1;) {
        known = format_at(work, a, &format) || known;
        if (known) work.multiply_adds += tokens * packed_elements(*work.args[a], format, inputs);
    }
}
void packed_linear(Work& work) { packed_product(work, 0); }
void packed_linear_add(Work& work) { packed_product(work, 1); }  // after what it is added to

// penlight::embedding(tokens, weight, format, dim)
void packed_embedding(Work& work) {
    const Tensor* tokens = tensor_at(work, 0);
    const Tensor* weight = tensor_at(work, 1);
    kernels::PackedFormat format{};
    const int64_t dim = integer_at(work, 3);
    if (!tokens || !weight || work.count < 4 || dim <= 0 || !format_at(work, 2, &format)) return;
    const int64_t block = format.nbytes(kernels::packed_rows, dim);
    if (block <= 0) return;
    const uint64_t row = static_cast<uint64_t>(block / kernels::packed_rows);
    work.bytes[1] = std::min(work.bytes[1], count_of(*tokens) * row);
}

// ---- key and value caches [1, G, S, D] ----

const int64_t* position_at(const Work& work, uint32_t index) {
    const Tensor* position = tensor_at(work, index);
    bool fits = position && position->dtype == PENLIGHT_INT64 && position->numel() == 1;
    return fits ? position->ptr<int64_t>() : nullptr;
}

// penlight::attention(q [1, T, H, D], keys, values, input_pos, scale, window, softcap)
void attention(Work& work) {
    const Tensor* q = tensor_at(work, 0);
    const Tensor* keys = tensor_at(work, 1);
    const int64_t* position = position_at(work, 3);
    if (!q || !keys || !position || q->rank != 4 || keys->rank != 4 || work.count < 6) return;
    const int64_t capacity = keys->size(2), tokens = q->size(1);
    const int64_t window = integer_at(work, 5);
    uint64_t seen = 0;  // pairs of a query and a position
    for (int64_t t = 0; t < tokens; t++) {
        const int64_t all = *position + t + 1;
        seen += static_cast<uint64_t>(window > 0 ? std::min(all, window) : all);
    }
    const int64_t end = *position + tokens;
    const int64_t used = window > 0 ? std::min(end, window + tokens - 1) : end;
    for (uint32_t a : {1u, 2u}) work.bytes[a] = share(work.bytes[a], used, capacity);
    work.multiply_adds = 2 * seen * static_cast<uint64_t>(q->size(2) * q->size(3));
}

// penlight::update_cache(cache, value, input_pos): the new positions alone, in place
void update_cache(Work& work) {
    const Tensor* cache = tensor_at(work, 0);
    const Tensor* value = tensor_at(work, 1);
    const Tensor* out = work.count ? tensor_at(work, work.count - 1) : nullptr;
    if (!cache || !value || !out || cache->data != out->data || cache->rank != 4 ||
        value->rank != 4)
        return;
    work.bytes[0] = 0;
    work.bytes[work.count - 1] = share(work.bytes[work.count - 1], value->size(1), cache->size(2));
}

struct NamedRule {
    std::string_view name;  // ends in '*' to match every name that begins so
    WorkRule rule;
};
constexpr NamedRule rules[] = {
    {"executorch_prim::*", nothing_moves},
    {"aten::sym_*", nothing_moves},
    {"aten::embedding.out", selects},
    {"aten::gather.out", selects},
    {"aten::index.Tensor_out", selects},
    {"aten::index_select.out", selects},
    {"aten::select_copy.int_out", selects},
    {"aten::slice_copy.Tensor_out", selects},
    {"aten::mm.out", product},
    {"aten::bmm.out", product},
    {"aten::linear.out", product},
    {"aten::addmm.out", added_product},
    {"aten::baddbmm.out", added_product},
    {"aten::convolution.out", convolution},
    {"penlight::attention*", attention},
    {"penlight::embedding.out", packed_embedding},
    {"penlight::update_cache.out", update_cache},
    {"penlight::linear_add.out", packed_linear_add},
    {"penlight::*", packed_linear},  // those of them that take packed weights
};

}  // namespace

WorkRule work_rule(std::string_view name) {
    for (const NamedRule& each : rules) {
        std::string_view wanted = each.name;
        const bool prefix = wanted.back() == '*';
        if (prefix) wanted.remove_suffix(1);
        if (prefix ? name.starts_with(wanted) : name == wanted) return each.rule;
    }
    return nullptr;
}

uint64_t tensor_bytes(const Tensor& tensor) {
    return count_of(tensor) * static_cast<uint64_t>(item_size(tensor.dtype));
}

}  // namespace penlight
