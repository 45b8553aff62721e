// Finding the parts of a program. Every index is checked again, so that nothing here depends on
// the order in which a file is verified.
#include "program.h"

namespace penlight {

namespace {

Bytes part(Bytes whole, uint64_t offset) {
    if (!whole.data || offset > whole.size) return {};
    return {whole.data + offset, whole.size - static_cast<size_t>(offset)};
}

Bytes part_of_segment(const penlight_program& program, Table list, uint32_t index) {
    auto offsets = list.vector<uint64_t>(schema::SubsegmentOffsets::offsets);
    if (index >= offsets.size()) return {};
    auto segment = list.get<uint32_t>(schema::SubsegmentOffsets::segment_index);
    return part(segment_bytes(program, segment), offsets[index]);
}

Bytes inline_bytes(TableVector list, uint32_t index, uint16_t field) {
    if (index >= list.size()) return {};
    Table entry = list[index];
    auto bytes = entry.vector<std::byte>(field);
    // An empty blob may be stored as no blob at all.
    static constexpr std::byte nothing{};
    if (!bytes.present()) return {entry.present() ? &nothing : nullptr, 0};
    return {bytes.data, bytes.count};
}

}  // namespace

Bytes segment_bytes(const penlight_program& program, uint32_t index) {
    TableVector segments = program.root.tables(schema::Program::segments);
    if (index >= segments.size()) return {};
    Table segment = segments[index];
    auto offset = segment.get<uint64_t>(schema::DataSegment::offset);
    auto size = segment.get<uint64_t>(schema::DataSegment::size);
    size_t room = program.segment_end - program.segment_base;
    if (!segment.present() || offset > room || size > room - offset) return {};
    return {program.bytes.data + program.segment_base + offset, static_cast<size_t>(size)};
}

Bytes constant_bytes(const penlight_program& program, uint32_t index) {
    Table list = program.root.table(schema::Program::constant_segment);
    if (list.vector<uint64_t>(schema::SubsegmentOffsets::offsets).size() > 0)
        return part_of_segment(program, list, index);
    return inline_bytes(program.root.tables(schema::Program::constant_buffer), index,
                        schema::Buffer::storage);
}

Bytes mutable_bytes(const penlight_program& program, uint64_t list, uint32_t index) {
    TableVector lists = program.root.tables(schema::Program::mutable_data_segments);
    if (list >= lists.size()) return {};
    return part_of_segment(program, lists[static_cast<uint32_t>(list)], index);
}

Bytes delegate_bytes(const penlight_program& program, Table reference) {
    using Reference = schema::BackendDelegateDataReference;
    auto index = reference.get<uint32_t>(Reference::index);
    auto location = static_cast<schema::DataLocation>(reference.get<int8_t>(Reference::location));
    if (location == schema::DataLocation::SEGMENT) return segment_bytes(program, index);
    if (location != schema::DataLocation::INLINE) return {};
    return inline_bytes(program.root.tables(schema::Program::backend_delegate_data), index,
                        schema::BackendDelegateInlineData::data);
}

Table find_plan(const penlight_program& program, std::string_view name) {
    TableVector plans = program.plans();
    uint32_t low = 0, high = plans.size();
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        Table plan = plans[program.methods_by_name[middle]];
        int order = plan.string(schema::ExecutionPlan::name).compare(name);
        if (order == 0) return plan;
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return {};
}

schema::KernelTypes value_type(TableVector values, uint32_t index) {
    if (index >= values.size()) return schema::KernelTypes::NONE;
    return static_cast<schema::KernelTypes>(values[index].get<uint8_t>(schema::EValue::val_type));
}

bool shape_of(Table tensor, TensorShape* shape) {
    auto sizes = tensor.vector<int32_t>(schema::Tensor::sizes);
    auto dtype = tensor.get<int8_t>(schema::Tensor::scalar_type);
    int64_t extent = 1, nbytes = 0;
    bool empty = false;
    for (uint32_t d = 0; d < sizes.size(); d++) {
        empty = empty || sizes[d] == 0;
        if (!checked_mul<int64_t>(extent, sizes[d] == 0 ? 1 : sizes[d], &extent)) return false;
    }
    if (!checked_mul(extent, static_cast<int64_t>(item_size(dtype)), &nbytes)) return false;
    if (static_cast<uint64_t>(nbytes) > SIZE_MAX / 4) return false;
    *shape = {sizes.size(), empty ? 0 : extent, empty ? 0 : nbytes};
    return true;
}

}  // namespace penlight
