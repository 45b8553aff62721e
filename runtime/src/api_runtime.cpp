// The C interface to runtimes and programs: checks arguments, and passes them on.
#include <cstdlib>
#include <cstring>
#include <new>

#include "program.h"
#include "runtime.h"
#include "simd/target.h"

#ifndef PENLIGHT_VERSION
#define PENLIGHT_VERSION "0.1.0"
#endif

namespace penlight {

namespace {

penlight_status give(Status status) { return static_cast<penlight_status>(status); }

penlight_status null_argument(const char* function, const char* what, penlight_error* error) {
    return give(report(error, Status::invalid_argument, function,
                       "expected %s but got null; pass one", what));
}

Status set_up(penlight_runtime& runtime, const penlight_runtime_options& options,
              penlight_error* error) {
    char message[256];
    if (choose_isa(std::getenv("PENLIGHT_ISA"), &runtime.isa, message, sizeof message) !=
        Status::ok)
        return report(error, Status::invalid_argument, "PENLIGHT_ISA", "%s", message);
    runtime.prefetch_near = prefetch_near();
    PENLIGHT_TRY(runtime.registry.make(options, runtime.allocator, error));
    runtime.pool.resize(options.threads ? options.threads : default_thread_count());
    return Status::ok;
}

}  // namespace

void retain_runtime(penlight_runtime* runtime) {
    runtime->references.fetch_add(1, std::memory_order_relaxed);
}

void release_runtime(penlight_runtime* runtime) {
    if (runtime->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    destroy_object(runtime->allocator, runtime);
}

}  // namespace penlight

using penlight::give;
using penlight::null_argument;

const char* penlight_version(void) { return PENLIGHT_VERSION; }

penlight_status penlight_runtime_create(const penlight_runtime_options* options,
                                        penlight_runtime** runtime, penlight_error* error) {
    using penlight::Status;
    if (!runtime) return null_argument("penlight_runtime_create", "a place for the runtime", error);
    static constexpr penlight_runtime_options defaults{};
    if (!options) options = &defaults;
    if ((options->kernel_count && !options->kernels) ||
        (options->delegate_count && !options->delegates))
        return null_argument("penlight_runtime_create", "a table of that many entries", error);
    penlight_allocator allocator =
        options->allocator ? *options->allocator : penlight::system_allocator();
    if (!allocator.allocate || !allocator.release)
        return null_argument("penlight_runtime_create", "an allocator with both functions", error);
    auto* made = penlight::make_object<penlight_runtime>(allocator);
    if (!made)
        return give(report(error, Status::out_of_memory, "penlight_runtime_create",
                           "expected %zu bytes of memory but got none; free some",
                           sizeof(penlight_runtime)));
    made->allocator = allocator;
    Status status = penlight::set_up(*made, *options, error);
    if (status == Status::ok) {
        *runtime = made;
    } else {
        penlight::release_runtime(made);
    }
    return give(status);
}

void penlight_runtime_free(penlight_runtime* runtime) {
    if (runtime) penlight::release_runtime(runtime);
}

uint32_t penlight_runtime_threads(const penlight_runtime* runtime) {
    return runtime->pool.threads();
}

penlight_status penlight_runtime_set_threads(penlight_runtime* runtime, uint32_t threads,
                                             penlight_error* error) {
    if (!runtime) return null_argument("penlight_runtime_set_threads", "a runtime", error);
    runtime->pool.resize(threads ? threads : penlight::default_thread_count());
    return PENLIGHT_OK;
}

const char* penlight_runtime_isa(const penlight_runtime* runtime) {
    return penlight::isa_name(runtime->isa);
}

size_t penlight_runtime_kernel_count(const penlight_runtime* runtime) {
    return runtime->registry.kernel_count;
}
const char* penlight_runtime_kernel_name(const penlight_runtime* runtime, size_t index) {
    const auto& registry = runtime->registry;
    return index < registry.kernel_count ? registry.kernels[index].name : nullptr;
}
const char* penlight_runtime_kernel_signature(const penlight_runtime* runtime, size_t index) {
    const auto& registry = runtime->registry;
    return index < registry.kernel_count ? registry.kernels[index].signature : nullptr;
}
size_t penlight_runtime_delegate_count(const penlight_runtime* runtime) {
    return runtime->registry.delegate_count;
}
const char* penlight_runtime_delegate_id(const penlight_runtime* runtime, size_t index) {
    const auto& registry = runtime->registry;
    return index < registry.delegate_count ? registry.delegates[index].id : nullptr;
}

penlight_status penlight_program_open(penlight_runtime* runtime, const char* path,
                                      penlight_program** program, penlight_error* error) {
    if (!runtime) return null_argument("penlight_program_open", "a runtime", error);
    if (!path) return null_argument("penlight_program_open", "a path", error);
    if (!program) return null_argument("penlight_program_open", "a place for the program", error);
    return give(penlight::open_program(runtime, path, program, error));
}

penlight_status penlight_program_open_memory(penlight_runtime* runtime, const void* data,
                                             size_t size, penlight_program** program,
                                             penlight_error* error) {
    if (!runtime) return null_argument("penlight_program_open_memory", "a runtime", error);
    if (!data) return null_argument("penlight_program_open_memory", "the program's bytes", error);
    if (!program)
        return null_argument("penlight_program_open_memory", "a place for the program", error);
    return give(penlight::open_program_memory(runtime, data, size, 0, program, error));
}

void penlight_program_close(penlight_program* program) {
    if (program) penlight::release_program(program);
}

size_t penlight_program_method_count(const penlight_program* program) {
    return program->plans().size();
}

const char* penlight_program_method_name(const penlight_program* program, size_t index) {
    penlight::TableVector plans = program->plans();
    if (index >= plans.size()) return nullptr;
    return plans[static_cast<uint32_t>(index)].string(penlight::schema::ExecutionPlan::name).data();
}

size_t penlight_program_named_data_count(const penlight_program* program) {
    return program->named_data().size();
}

const char* penlight_program_named_data_key(const penlight_program* program, size_t index) {
    penlight::TableVector named = program->named_data();
    if (index >= named.size()) return nullptr;
    return named[static_cast<uint32_t>(index)].string(penlight::schema::NamedData::key).data();
}

penlight_status penlight_program_named_data(const penlight_program* program, const char* key,
                                            const void** data, size_t* size,
                                            penlight_error* error) {
    using penlight::schema::NamedData;
    if (!program || !key || !data || !size)
        return null_argument("penlight_program_named_data",
                             "a program, a key and places for data and size", error);
    penlight::TableVector named = program->named_data();
    uint32_t low = 0, high = named.size();
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        penlight::Table entry = named[program->named_by_key[middle]];
        int order = entry.string(NamedData::key).compare(key);
        if (order == 0) {
            auto bytes =
                penlight::segment_bytes(*program, entry.get<uint32_t>(NamedData::segment_index));
            *data = bytes.data;
            *size = bytes.size;
            return PENLIGHT_OK;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return give(report(error, penlight::Status::not_found, program->label,
                       "expected a key of its named data but got \"%s\"; list the keys",
                       penlight::Printable(key).text()));
}
