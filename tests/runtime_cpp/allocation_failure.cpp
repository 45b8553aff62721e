// Whatever allocation fails, the call says so, and nothing is lost or touched wrongly.
#include <cstring>

#include "claims.h"
#include "penlight/penlight_profile.h"

namespace {

// Grants so many requests, then none.
struct Meter {
    long left;
    long outstanding = 0;
};

void* allocate(void* context, size_t size, size_t alignment) {
    auto* meter = static_cast<Meter*>(context);
    if (meter->left-- <= 0) return nullptr;
    meter->outstanding++;
    size_t rounded = (size + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, rounded);
    std::memset(memory, 0xa5, rounded);  // memory need not be zeroed
    return memory;
}

void release(void* context, void* pointer, size_t) {
    static_cast<Meter*>(context)->outstanding--;
    std::free(pointer);
}

// Open, measure, load, run and free; the first failure, if any.
penlight_status go_through(const penlight_allocator& allocator, const std::vector<char>& file,
                           bool aligned, size_t inputs) {
    penlight_runtime_options options{};
    options.threads = 2;
    options.allocator = &allocator;
    penlight_runtime* runtime = nullptr;
    penlight_program* program = nullptr;
    penlight_method* method = nullptr;
    penlight_memory_info memory{};
    penlight_error error{};
    std::vector<char> shifted(file.size() + 1);
    std::memcpy(shifted.data() + 1, file.data(), file.size());
    const char* bytes = aligned ? file.data() : shifted.data() + 1;
    penlight_status status = penlight_runtime_create(&options, &runtime, &error);
    if (!status)
        status = penlight_program_open_memory(runtime, bytes, file.size(), &program, &error);
    if (!status) status = penlight_program_method_memory(program, "forward", &memory, &error);
    if (!status) status = penlight_method_load(program, "forward", &allocator, &method, &error);
    if (!status) status = penlight_method_set_profiling(method, true, &error);
    Given x({2, 3}, {1, 2, 3, 4, 5, 6});
    for (size_t i = 0; i < inputs && !status; i++)
        status = penlight_method_set_input_tensor(method, i, &x.tensor, &error);
    if (!status) status = penlight_method_execute(method, &error);
    if (!status) status = penlight_method_reset(method, &error);
    penlight_method_free(method);
    penlight_program_close(program);
    penlight_runtime_free(runtime);
    if (status) EXPECT(error.status == status && error.message[0] == '[');
    return status;
}

void fail_every_allocation(const char* name, size_t inputs) {
    std::vector<char> file = read_program(name);
    for (int aligned = 0; aligned < 2; aligned++) {
        long step = 0;
        for (penlight_status status = PENLIGHT_OUT_OF_MEMORY; status; step++) {
            Meter meter{step};
            penlight_allocator allocator{&meter, allocate, release};
            status = go_through(allocator, file, aligned != 0, inputs);
            EXPECT(status == PENLIGHT_OK || status == PENLIGHT_OUT_OF_MEMORY);
            EXPECT(meter.outstanding == 0);
            EXPECT(step < 1000);
        }
        EXPECT(step > 5);
    }
}

CLAIM(no_allocation_failure_harms_a_method) { fail_every_allocation("add", 2); }
CLAIM(no_allocation_failure_harms_a_delegate) { fail_every_allocation("reference", 2); }

CLAIM(execute_allocates_nothing) {
    std::vector<char> file = read_program("add");
    Meter meter{1000};
    penlight_allocator allocator{&meter, allocate, release};
    penlight_runtime_options options{};
    options.threads = 1;
    options.allocator = &allocator;
    penlight_runtime* runtime = nullptr;
    penlight_program* program = nullptr;
    penlight_method* method = nullptr;
    EXPECT(!penlight_runtime_create(&options, &runtime, nullptr));
    EXPECT(!penlight_program_open_memory(runtime, file.data(), file.size(), &program, nullptr));
    EXPECT(!penlight_method_load(program, "forward", nullptr, &method, nullptr));
    Given x({2, 3}, {1, 2, 3, 4, 5, 6});
    EXPECT(!penlight_method_set_input_tensor(method, 0, &x.tensor, nullptr));
    EXPECT(!penlight_method_set_input_tensor(method, 1, &x.tensor, nullptr));
    meter.left = 0;
    EXPECT(penlight_method_execute(method, nullptr) == PENLIGHT_OK);
    penlight_method_free(method);
    penlight_program_close(program);
    penlight_runtime_free(runtime);
}

}  // namespace
