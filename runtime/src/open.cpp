// From a path or bytes to a verified program.
#include <cstdio>
#include <cstring>
#include <new>

#include "program.h"
#include "runtime.h"

namespace penlight {

namespace {

// The last component of a path, as messages name the file.
void label_program(penlight_program& program, const char* path) {
    const char* name = path;
    for (const char* c = path; *c; c++)
        if (*c == '/' || *c == '\\') name = c + 1;
    Printable printable(*name ? name : path);
    std::snprintf(program.label, sizeof program.label, "%.60s", printable.text());
}

Status malformed(const penlight_program& program, penlight_error* error, const char* expected,
                 unsigned long long got) {
    return report(
        error, Status::invalid_program, program.label,
        "expected %s but got %llu; the file is damaged or cut short, so copy or export it "
        "again",
        expected, got);
}

// The optional header that tells where the flatbuffer ends and the segments begin.
Status read_header(penlight_program& program, penlight_error* error) {
    const Bytes& file = program.bytes;
    Flatbuffer raw{file.data, file.size, nullptr};
    if (file.size < 8 || std::memcmp(file.data + 4, schema::file_identifier, 4) != 0) {
        Printable got(file.size < 8
                          ? std::string_view("a file shorter than that")
                          : std::string_view(reinterpret_cast<const char*>(file.data) + 4, 4));
        return report(
            error, Status::invalid_program, program.label,
            "expected a program with the identifier \"%s\" but got \"%s\"; give a .pte file",
            schema::file_identifier, got.text());
    }
    program.segment_base = program.segment_end = file.size;
    uint64_t program_size = file.size;
    size_t at = schema::header_offset;
    if (raw.holds(at, schema::header_minimum_length) &&
        std::memcmp(file.data + at, schema::header_magic, 4) == 0) {
        auto length = raw.read<uint32_t>(at + 4);
        program_size = raw.read<uint64_t>(at + 8);
        auto base = raw.read<uint64_t>(at + 16);
        if (length < schema::header_minimum_length || !raw.holds(at, length))
            return malformed(program, error, "a header of 24 bytes or more", length);
        uint64_t data_size = length >= schema::header_length ? raw.read<uint64_t>(at + 24) : 0;
        if (program_size < at + length || program_size > file.size)
            return malformed(program, error, "a program size within the file", program_size);
        if (base != 0 && (base < program_size || base > file.size))
            return malformed(program, error, "a segment base after the program", base);
        if (base != 0 && data_size > file.size - base)
            return malformed(program, error, "segments that end within the file", data_size);
        if (base != 0) program.segment_base = base;
        if (base != 0 && data_size != 0) program.segment_end = base + data_size;
    }
    if (program_size > INT32_MAX)
        return malformed(program, error, "a flatbuffer of less than 2 GiB", program_size);
    program.buffer = {file.data, static_cast<size_t>(program_size), nullptr};
    return Status::ok;
}

Status finish_open(penlight_program* program, penlight_program** out, penlight_error* error) {
    program->bytes = program->file.bytes();
    Status status = read_header(*program, error);
    if (status == Status::ok) status = verify_program(*program, error);
    if (status == Status::ok) {
        *out = program;
    } else {
        release_program(program);
    }
    return status;
}

penlight_program* make_program(penlight_runtime* runtime, penlight_error* error) {
    auto* program = make_object<penlight_program>(runtime->allocator);
    if (!program) {
        (void)report(error, Status::out_of_memory, "program",
                     "expected %zu bytes of memory but got none; free some",
                     sizeof(penlight_program));
        return nullptr;
    }
    program->runtime = runtime;
    retain_runtime(runtime);
    return program;
}

}  // namespace

Status open_program(penlight_runtime* runtime, const char* path, penlight_program** out,
                    penlight_error* error) {
    penlight_program* program = make_program(runtime, error);
    if (!program) return Status::out_of_memory;
    label_program(*program, path);
    Status status = program->file.open(path, program->label, runtime->allocator, error);
    if (status == Status::ok) return finish_open(program, out, error);
    release_program(program);
    return status;
}

Status open_program_memory(penlight_runtime* runtime, const void* data, size_t size, uint32_t depth,
                           penlight_program** out, penlight_error* error) {
    penlight_program* program = make_program(runtime, error);
    if (!program) return Status::out_of_memory;
    program->depth = depth;
    Status status = program->file.borrow(data, size, runtime->allocator, error);
    if (status == Status::ok) return finish_open(program, out, error);
    release_program(program);
    return status;
}

void retain_program(penlight_program* program) {
    program->references.fetch_add(1, std::memory_order_relaxed);
}

void release_program(penlight_program* program) {
    if (program->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    penlight_runtime* runtime = program->runtime;
    destroy_object(runtime->allocator, program);
    release_runtime(runtime);
}

}  // namespace penlight
