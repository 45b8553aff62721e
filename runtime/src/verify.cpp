#include "verify.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "runtime.h"

namespace penlight {

namespace {
constexpr size_t longest_name = 4096;
constexpr const char* damaged = "the file is damaged, so copy or export it again";
}  // namespace

Status verify_program(penlight_program& program, penlight_error* error) {
    return Verifier(program, error).run();
}

Status Verifier::fail(Status status, const char* format, ...) {
    char message[400];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    char place[220];
    int used = std::snprintf(place, sizeof place, "%s", program_.label);
    auto at = [&] { return std::min(static_cast<size_t>(used), sizeof place - 1); };
    if (method_)
        used +=
            std::snprintf(place + at(), sizeof place - at(), ", method \"%s\"", method_->text());
    if (item_) std::snprintf(place + at(), sizeof place - at(), ", %s %zu", item_, index_);
    return report(error_, status, place, "%s", message);
}

Status Verifier::bad(const char* format, ...) {
    char message[300];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return fail(Status::invalid_program, "%s; %s", message, damaged);
}

Status Verifier::spend(size_t items) {
    if (items <= budget_) {
        budget_ -= items;
        return Status::ok;
    }
    return bad("expected lists that together fit the file but got ones that overlap");
}

Status Verifier::check_bounds() {
    if (!fault_.what) return Status::ok;
    return bad("expected %s but got one that leaves it, at byte %zu of %zu", fault_.what,
               fault_.position, buffer_.size);
}

Status Verifier::check_name(std::string_view name) {
    PENLIGHT_TRY(check_bounds());
    if (!name.data()) return bad("expected a name but got none");
    if (name.empty()) return bad("expected a name but got an empty one");
    if (name.size() > longest_name)
        return bad("expected a name of at most %zu bytes but got %zu", longest_name, name.size());
    if (name.find('\0') != std::string_view::npos)
        return bad("expected a name without zero bytes but got \"%s\"", Printable(name).text());
    return Status::ok;
}

Status Verifier::run() {
    buffer_.fault = &fault_;
    budget_ = 2 * buffer_.size + (1 << 16);
    root_ = buffer_.root();
    PENLIGHT_TRY(check_bounds());
    if (!root_.present()) return bad("expected a root table but got none");
    auto version = root_.get<uint32_t>(schema::Program::version);
    if (version != schema::version)
        return fail(Status::unsupported,
                    "expected a program of version %u but got %u; export it with a release of the "
                    "same age as this runtime",
                    schema::version, version);
    program_.root = root_;
    program_.root.buffer = &program_.buffer;
    PENLIGHT_TRY(check_segments());
    PENLIGHT_TRY(check_constants());
    PENLIGHT_TRY(check_named_data());
    TableVector plans = root_.tables(schema::Program::execution_plan);
    PENLIGHT_TRY(check_bounds());
    PENLIGHT_TRY(spend(plans.size()));
    for (uint32_t i = 0; i < plans.size(); i++) {
        enter("method", i);
        PENLIGHT_TRY(check_name(plans[i].string(schema::ExecutionPlan::name)));
    }
    item_ = nullptr;
    PENLIGHT_TRY(sort_names());
    for (uint32_t i = 0; i < plans.size(); i++) {
        Printable name(plans[i].string(schema::ExecutionPlan::name));
        method_ = &name;
        Status status = check_plan(plans[i]);
        method_ = nullptr;
        PENLIGHT_TRY(status);
    }
    return Status::ok;
}

Status Verifier::check_segments() {
    TableVector segments = root_.tables(schema::Program::segments);
    PENLIGHT_TRY(check_bounds());
    PENLIGHT_TRY(spend(segments.size()));
    for (uint32_t i = 0; i < segments.size(); i++) {
        enter("segment", i);
        Table segment = segments[i];
        auto offset = segment.get<uint64_t>(schema::DataSegment::offset);
        auto size = segment.get<uint64_t>(schema::DataSegment::size);
        PENLIGHT_TRY(check_bounds());
        if (!segment_bytes(program_, i).data)
            return bad(
                "expected a segment within the %zu bytes after the program but got offset "
                "%llu and size %llu",
                program_.segment_end - program_.segment_base,
                static_cast<unsigned long long>(offset), static_cast<unsigned long long>(size));
    }
    item_ = nullptr;
    return Status::ok;
}

Status Verifier::check_offsets(Table list) {
    auto offsets = list.vector<uint64_t>(schema::SubsegmentOffsets::offsets);
    auto index = list.get<uint32_t>(schema::SubsegmentOffsets::segment_index);
    PENLIGHT_TRY(check_bounds());
    PENLIGHT_TRY(spend(offsets.size()));
    if (offsets.size() == 0) return Status::ok;
    Bytes segment = segment_bytes(program_, index);
    if (!segment.data)
        return bad("expected the index of a segment but got %u of %u", index,
                   root_.tables(schema::Program::segments).size());
    for (uint32_t i = 0; i < offsets.size(); i++)
        if (offsets[i] > segment.size)
            return bad("expected data within segment %u of %zu bytes but got offset %llu", index,
                       segment.size, static_cast<unsigned long long>(offsets[i]));
    return Status::ok;
}

Status Verifier::check_constants() {
    TableVector buffers = root_.tables(schema::Program::constant_buffer);
    PENLIGHT_TRY(check_bounds());
    PENLIGHT_TRY(spend(buffers.size()));
    for (uint32_t i = 0; i < buffers.size(); i++) {
        enter("constant", i);
        (void)buffers[i].vector<std::byte>(schema::Buffer::storage);
        PENLIGHT_TRY(check_bounds());
    }
    item_ = "constant segment, list";
    index_ = 0;
    Table constants = root_.table(schema::Program::constant_segment);
    PENLIGHT_TRY(check_offsets(constants));
    if (buffers.size() > 0 &&
        constants.vector<uint64_t>(schema::SubsegmentOffsets::offsets).size() > 0)
        return bad("expected constants in a segment or in the program but got both");
    TableVector lists = root_.tables(schema::Program::mutable_data_segments);
    PENLIGHT_TRY(check_bounds());
    PENLIGHT_TRY(spend(lists.size()));
    for (uint32_t i = 0; i < lists.size(); i++) {
        enter("mutable data list", i);
        PENLIGHT_TRY(check_offsets(lists[i]));
    }
    TableVector blobs = root_.tables(schema::Program::backend_delegate_data);
    PENLIGHT_TRY(check_bounds());
    PENLIGHT_TRY(spend(blobs.size()));
    for (uint32_t i = 0; i < blobs.size(); i++) {
        enter("delegate data", i);
        (void)blobs[i].vector<std::byte>(schema::BackendDelegateInlineData::data);
        PENLIGHT_TRY(check_bounds());
    }
    item_ = nullptr;
    return Status::ok;
}

Status Verifier::check_named_data() {
    TableVector named = root_.tables(schema::Program::named_data);
    PENLIGHT_TRY(check_bounds());
    PENLIGHT_TRY(spend(named.size()));
    for (uint32_t i = 0; i < named.size(); i++) {
        enter("named data", i);
        PENLIGHT_TRY(check_name(named[i].string(schema::NamedData::key)));
        auto index = named[i].get<uint32_t>(schema::NamedData::segment_index);
        PENLIGHT_TRY(check_bounds());
        if (!segment_bytes(program_, index).data)
            return bad("expected the index of a segment but got %u of %u", index,
                       root_.tables(schema::Program::segments).size());
    }
    item_ = nullptr;
    return Status::ok;
}

namespace {

// Order the indices 0..count-1 by name; the first name found twice, or none.
std::string_view order_by_name(TableVector tables, uint16_t field, uint32_t* order) {
    for (uint32_t i = 0; i < tables.size(); i++) order[i] = i;
    std::string_view twice;
    std::sort(order, order + tables.size(), [&](uint32_t a, uint32_t b) {
        if (a == b || twice.data()) return false;
        std::string_view left = tables[a].string(field);
        int comparison = left.compare(tables[b].string(field));
        if (comparison == 0) twice = left;
        return comparison < 0;
    });
    return twice;
}

}  // namespace

Status Verifier::sort_names() {
    TableVector plans = program_.plans(), named = program_.named_data();
    size_t count = size_t{plans.size()} + named.size();
    if (!program_.sorted.allocate(program_.runtime->allocator, count * sizeof(uint32_t), 16, false))
        return fail(Status::out_of_memory, "expected memory for %zu names but got none; free some",
                    count);
    program_.methods_by_name = reinterpret_cast<uint32_t*>(program_.sorted.data());
    program_.named_by_key = program_.methods_by_name + plans.size();
    auto twice = order_by_name(plans, schema::ExecutionPlan::name, program_.methods_by_name);
    if (twice.data())
        return bad("expected methods of different names but got \"%s\" twice",
                   Printable(twice).text());
    twice = order_by_name(named, schema::NamedData::key, program_.named_by_key);
    if (twice.data())
        return bad("expected named data of different keys but got \"%s\" twice",
                   Printable(twice).text());
    return Status::ok;
}

}  // namespace penlight
