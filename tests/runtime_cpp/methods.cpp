// What a method does with what it is given.
#include <cstring>

#include "claims.h"
#include "penlight/penlight_profile.h"

namespace {

using Numbers = std::vector<float>;

CLAIM(inputs_of_any_layout_are_understood) {
    Loaded add("add");
    Given x({2, 3}, {1, 2, 3, 4, 5, 6}), columns({2, 3}, {10, 40, 20, 50, 30, 60});
    int64_t strides[] = {1, 2};
    columns.tensor.strides = strides;
    EXPECT(add.give(0, columns) == PENLIGHT_OK);  // planned: copied into row-major order
    EXPECT(add.give(1, x) == PENLIGHT_OK);        // the program's is column-major: laid out anew
    add.run();
    EXPECT((add.output(0) == Numbers{11, 22, 33, 44, 55, 66}));
    EXPECT(add.give(0, x) == PENLIGHT_OK);
    EXPECT(add.give(1, columns) == PENLIGHT_OK);  // as the program has it: used in place
    add.run();
    EXPECT((add.output(0) == Numbers{11, 22, 33, 44, 55, 66}));
}

CLAIM(every_input_is_set_before_every_run) {
    Loaded add("add");
    Given x({2, 3}, Numbers(6, 1));
    EXPECT(add.give(0, x) == PENLIGHT_OK);
    EXPECT(penlight_method_execute(add.method, &add.error) == PENLIGHT_INVALID_ARGUMENT);
    EXPECT(std::strstr(add.error.message, "input 1") != nullptr);
    EXPECT(add.give(1, x) == PENLIGHT_OK);
    add.run();
    EXPECT(penlight_method_execute(add.method, &add.error) == PENLIGHT_INVALID_ARGUMENT);
}

CLAIM(an_input_of_another_shape_is_refused) {
    Loaded add("add"), dynamic("add_dynamic");
    Given small({1, 3}, Numbers(3, 1)), flat({6}, Numbers(6, 1)), large({2, 4}, Numbers(8, 1));
    EXPECT(add.give(0, small) == PENLIGHT_INVALID_ARGUMENT);
    EXPECT(add.give(0, flat) == PENLIGHT_INVALID_ARGUMENT);
    EXPECT(dynamic.give(0, large) == PENLIGHT_INVALID_ARGUMENT);
    small.sizes[0] = -1;
    EXPECT(dynamic.give(0, small) == PENLIGHT_INVALID_ARGUMENT);
    EXPECT(add.give(2, small) == PENLIGHT_INVALID_ARGUMENT);
}

CLAIM(a_dynamic_shape_may_shrink_to_nothing) {
    Loaded add("add_dynamic");
    Given x({1, 2}, {1, 2}), none({0, 3}, {});
    EXPECT(add.give(0, x) == PENLIGHT_OK && add.give(1, x) == PENLIGHT_OK);
    add.run();
    EXPECT((add.output(0) == Numbers{2, 4}));
    EXPECT(add.give(0, none) == PENLIGHT_OK && add.give(1, none) == PENLIGHT_OK);
    add.run();
    EXPECT(add.output(0).empty());
}

CLAIM(a_view_follows_the_shape_of_its_input) {
    Loaded view("view");
    for (int64_t columns : {3, 1, 4}) {
        Given x({2, columns}, Numbers(static_cast<size_t>(2 * columns), 1.5f));
        EXPECT(view.give(0, x) == PENLIGHT_OK);
        view.run();
        EXPECT(view.output(0) == Numbers(static_cast<size_t>(2 * columns), 3.0f));
        const penlight_value* number = nullptr;
        EXPECT(!penlight_method_output(view.method, 1, &number, nullptr));
        EXPECT(number->tag == PENLIGHT_INT && number->as.integer == 2 * columns);
        EXPECT(!penlight_method_output(view.method, 2, &number, nullptr));
        EXPECT(number->tag == PENLIGHT_REAL && number->as.real == static_cast<double>(columns));
    }
}

CLAIM(state_is_kept_until_reset) {
    Loaded counter("counter");
    Given x({2}, {1, 10});
    for (int round = 0; round < 2; round++) {
        for (float n = 1; n <= 3; n++) {
            EXPECT(counter.give(0, x) == PENLIGHT_OK);
            counter.run();
            EXPECT((counter.output(0) == Numbers{1 + n, 2 + 10 * n}));
            EXPECT((counter.output(1) == Numbers{n, 10 * n}));
        }
        EXPECT(penlight_method_state_count(counter.method) == 2);
        penlight_tensor* state = nullptr;
        EXPECT(!penlight_method_state(counter.method, 1, &state, nullptr));
        EXPECT(static_cast<float*>(state->data)[1] == 30);
        EXPECT(penlight_method_state(counter.method, 2, &state, nullptr));
        EXPECT(!penlight_method_reset(counter.method, nullptr));
    }
}

penlight_method* sharing(Loaded& with, const char* name) {
    penlight_method* method = nullptr;
    EXPECT(!penlight_method_load_sharing(with.method, name, &method, &with.error));
    return method;
}

// Twice the state of "counters" after x was added by `method`.
Numbers grown_by(penlight_method* method, Given& x) {
    penlight_error error{};
    const penlight_value* out = nullptr;
    if (penlight_method_set_input_tensor(method, 0, &x.tensor, &error) ||
        penlight_method_execute(method, &error) || penlight_method_output(method, 0, &out, &error))
        broken("grown_by", 0, error.message);
    const float* data = static_cast<const float*>(out->as.tensor->data);
    return {data[0], data[1]};
}

CLAIM(methods_that_share_state_see_what_each_other_writes) {
    Loaded counters("counters"), alone("counters");
    Given x({2}, {1, 10});
    EXPECT((grown_by(counters.method, x) == Numbers{4, 24}));
    penlight_method* again = sharing(counters, "again");  // does not put the state back
    EXPECT((grown_by(again, x) == Numbers{6, 44}));
    EXPECT((grown_by(counters.method, x) == Numbers{8, 64}));
    penlight_method* third = nullptr;
    EXPECT(!penlight_method_load_sharing(again, "again", &third, nullptr));
    EXPECT((grown_by(third, x) == Numbers{10, 84}));
    EXPECT((grown_by(alone.method, x) == Numbers{4, 24}));  // its state is its own
    penlight_tensor *state = nullptr, *shared = nullptr;
    EXPECT(!penlight_method_state(counters.method, 0, &state, nullptr));
    EXPECT(!penlight_method_state(again, 0, &shared, nullptr));
    EXPECT(state->data == shared->data && static_cast<float*>(state->data)[1] == 42);
    EXPECT(!penlight_method_reset(again, nullptr));
    EXPECT((grown_by(counters.method, x) == Numbers{4, 24}));
    // The first to be loaded is freed first: its state stays until the last goes.
    penlight_method_free(counters.method);
    counters.method = nullptr;
    EXPECT((grown_by(again, x) == Numbers{6, 44}));
    penlight_method_free(again);
    EXPECT((grown_by(third, x) == Numbers{8, 64}));
    penlight_method_free(third);
}

CLAIM(state_of_another_plan_is_not_shared) {
    Loaded counters("counters");
    for (const char* name :
         {"renamed", "moved", "elsewhere", "resized", "larger", "more", "none", "absent"}) {
        penlight_method* method = nullptr;
        penlight_error error{};
        EXPECT(penlight_method_load_sharing(counters.method, name, &method, &error));
        EXPECT(method == nullptr && error.message[0] == '[');
    }
    Given x({2}, {1, 10});
    EXPECT((grown_by(counters.method, x) == Numbers{4, 24}));
}

// Runs the method that `reentered` names from inside of another.
penlight_method* reentered = nullptr;
penlight_status reenter(penlight_context* context, penlight_value* const*, uint32_t) {
    penlight_error error{};
    if (!penlight_method_execute(reentered, &error)) return PENLIGHT_OK;
    return penlight_fail(context, "%s", error.message);
}

CLAIM(of_methods_that_share_state_one_runs_at_a_time) {
    penlight_kernel kernel{"aten::add.out", "Tensor, Tensor, Scalar, Tensor!", reenter};
    penlight_runtime_options options{};
    options.kernels = &kernel;
    options.kernel_count = 1;
    Loaded counters("counters", &options);
    Given x({2}, {1, 10});
    reentered = sharing(counters, "again");
    EXPECT(counters.give(0, x) == PENLIGHT_OK);
    EXPECT(penlight_method_execute(counters.method, &counters.error) == PENLIGHT_EXECUTION_FAILED);
    EXPECT(std::strstr(counters.error.message, "nor one that shares its state") != nullptr);
    penlight_method_free(reentered);
}

CLAIM(outputs_go_to_the_callers_memory) {
    Loaded add("add"), counter("counter");
    Given x({2, 3}, Numbers(6, 1)), y({2}, {1, 1});
    Numbers sum(6), state(2);
    EXPECT(!penlight_method_set_output_data(add.method, 0, sum.data(), 24, nullptr));
    EXPECT(add.give(0, x) == PENLIGHT_OK && add.give(1, x) == PENLIGHT_OK);
    add.run();
    EXPECT(sum == Numbers(6, 2));
    EXPECT(penlight_method_set_output_data(add.method, 0, sum.data(), 23, nullptr));
    EXPECT(!penlight_method_set_output_data(counter.method, 0, state.data(), 8, nullptr));
    EXPECT(counter.give(0, y) == PENLIGHT_OK);
    counter.run();
    EXPECT((state == Numbers{2, 3}));  // planned: copied when the run is over
}

CLAIM(an_output_is_no_input_of_the_same_method) {
    Loaded add("add");
    Given x({2, 3}, Numbers(6, 1));
    EXPECT(add.give(0, x) == PENLIGHT_OK && add.give(1, x) == PENLIGHT_OK);
    add.run();
    const penlight_value* out = nullptr;
    EXPECT(!penlight_method_output(add.method, 0, &out, nullptr));
    EXPECT(penlight_method_set_input_tensor(add.method, 0, out->as.tensor, nullptr));
}

CLAIM(a_plan_of_gigabytes_costs_what_is_touched) {
    Loaded huge("huge");
    Given x({2}, {1, 2});
    penlight_memory_info memory{};
    EXPECT(!penlight_program_method_memory(huge.program, "forward", &memory, nullptr));
    EXPECT(memory.planned == size_t{1} << 34);
    EXPECT(memory.structures < 1 << 16);
    EXPECT(huge.give(0, x) == PENLIGHT_OK);
    huge.run();
    EXPECT((huge.output(0) == Numbers{2, 4}));
    EXPECT(!penlight_method_reset(huge.method, nullptr));
}

CLAIM(delegates_run) {
    Loaded reference("reference"), null("null");
    Given x({2, 3}, {1, 2, 3, 4, 5, 6}), y({2, 3}, Numbers(6, 1));
    for (Loaded* program : {&reference, &null}) {
        EXPECT(program->give(0, x) == PENLIGHT_OK && program->give(1, y) == PENLIGHT_OK);
        program->run();
    }
    EXPECT((reference.output(0) == Numbers{2, 3, 4, 5, 6, 7}));
    EXPECT(null.output(0) == Numbers(6, 0));
}

penlight_status load_error(const char* name, penlight_error* error) {
    std::vector<char> file = read_program(name);
    penlight_runtime* runtime = nullptr;
    penlight_program* program = nullptr;
    penlight_method* method = nullptr;
    EXPECT(!penlight_runtime_create(nullptr, &runtime, error));
    EXPECT(!penlight_program_open_memory(runtime, file.data(), file.size(), &program, error));
    penlight_status status = penlight_method_load(program, "forward", nullptr, &method, error);
    EXPECT(method == nullptr);
    penlight_program_close(program);
    penlight_runtime_free(runtime);
    return status;
}

CLAIM(delegates_nest_only_so_deep) {
    penlight_error error{};
    EXPECT(load_error("too_deep", &error) == PENLIGHT_EXECUTION_FAILED);
    EXPECT(std::strstr(error.message, "nested") != nullptr);
}

CLAIM(all_missing_kernels_are_named) {
    penlight_error error{};
    EXPECT(load_error("missing", &error) == PENLIGHT_UNSUPPORTED);
    EXPECT(std::strstr(error.message, "my::first.out, my::second;") != nullptr);
}

penlight_status negate(penlight_context* context, penlight_value* const* args, uint32_t count) {
    if (count < 4) return penlight_fail(context, "expected 4 arguments but got %u", count);
    const penlight_tensor& x = *args[0]->as.tensor;
    penlight_tensor& out = *args[3]->as.tensor;
    penlight_status status = penlight_resize(context, &out, x.rank, x.sizes);
    if (status) return status;
    for (int i = 0; i < 6; i++)
        static_cast<float*>(out.data)[i] = -static_cast<const float*>(x.data)[i];
    return PENLIGHT_OK;
}

CLAIM(a_kernel_of_the_caller_replaces_a_built_in_one) {
    penlight_kernel kernel{"aten::add.out", "Tensor, Tensor, Scalar, Tensor!", negate};
    penlight_runtime_options options{};
    options.kernels = &kernel;
    options.kernel_count = 1;
    Loaded add("add", &options);
    Given x({2, 3}, {1, 2, 3, 4, 5, 6});
    EXPECT(add.give(0, x) == PENLIGHT_OK && add.give(1, x) == PENLIGHT_OK);
    add.run();
    EXPECT((add.output(0) == Numbers{-1, -2, -3, -4, -5, -6}));
    kernel.signature = "Tensor, Matrix";
    penlight_runtime* runtime = nullptr;
    penlight_error error{};
    EXPECT(penlight_runtime_create(&options, &runtime, &error) == PENLIGHT_INVALID_ARGUMENT);
    EXPECT(std::strstr(error.message, "\"Matrix\"") != nullptr && runtime == nullptr);
}

// A delegate whose handle is the factor in its processed bytes.
int scales_alive = 0;

penlight_status make_scale(penlight_context* context, const void* processed, size_t size,
                           const char* const* keys, const void* const* values, const size_t* sizes,
                           size_t count, void** handle) {
    if (size != sizeof(float)) return penlight_fail(context, "expected 4 bytes but got %zu", size);
    EXPECT(count == 1 && !std::strcmp(keys[0], "depth") && sizes[0] == 1);
    EXPECT(*static_cast<const char*>(values[0]) == 1);
    *handle = new float(*static_cast<const float*>(processed));
    scales_alive++;
    return PENLIGHT_OK;
}

penlight_status scale(penlight_context* context, void* handle, penlight_value* const* args,
                      uint32_t count) {
    if (count != 3) return penlight_fail(context, "expected 3 arguments but got %u", count);
    for (int i = 0; i < 6; i++)
        static_cast<float*>(args[2]->as.tensor->data)[i] =
            *static_cast<float*>(handle) * static_cast<const float*>(args[0]->as.tensor->data)[i];
    return PENLIGHT_OK;
}

void free_scale(void* handle) {
    delete static_cast<float*>(handle);
    scales_alive--;
}

CLAIM(a_delegate_of_the_caller_runs_and_is_freed) {
    penlight_error error{};
    EXPECT(load_error("callers_delegate", &error) == PENLIGHT_UNSUPPORTED);
    EXPECT(std::strstr(error.message, "Scale") != nullptr);
    penlight_delegate delegate{"Scale", make_scale, scale, free_scale};
    penlight_runtime_options options{};
    options.delegates = &delegate;
    options.delegate_count = 1;
    {
        Loaded program("callers_delegate", &options);
        Given x({2, 3}, {1, 2, 3, 4, 5, 6});
        EXPECT(program.give(0, x) == PENLIGHT_OK && program.give(1, x) == PENLIGHT_OK);
        program.run();
        EXPECT((program.output(0) == Numbers{3, 6, 9, 12, 15, 18}));
        EXPECT(scales_alive == 1);
    }
    EXPECT(scales_alive == 0);
}

// What a kernel that meddles with its own method is told.
penlight_method* meddled = nullptr;
penlight_error meddling[2];

penlight_status meddle(penlight_context* context, penlight_value* const* args, uint32_t count) {
    penlight_profile_record record;
    penlight_method_set_profiling(meddled, false, &meddling[0]);
    penlight_method_profile(meddled, 0, &record, &meddling[1]);
    return negate(context, args, count);
}

CLAIM(a_method_that_runs_keeps_its_profile) {
    penlight_kernel kernel{"aten::add.out", "Tensor, Tensor, Scalar, Tensor!", meddle};
    penlight_runtime_options options{};
    options.kernels = &kernel;
    options.kernel_count = 1;
    Loaded add("add", &options);
    meddled = add.method;
    Given x({2, 3}, {1, 2, 3, 4, 5, 6});
    EXPECT(!penlight_method_set_profiling(add.method, true, &add.error));
    EXPECT(add.give(0, x) == PENLIGHT_OK && add.give(1, x) == PENLIGHT_OK);
    add.run();
    for (const penlight_error& error : meddling) {
        EXPECT(error.status == PENLIGHT_INVALID_ARGUMENT);
        EXPECT(std::strstr(error.message, "not running") != nullptr);
    }
    penlight_profile_record record{};
    EXPECT(penlight_method_profile_count(add.method) == 1);
    EXPECT(!penlight_method_profile(add.method, 0, &record, &add.error));
    EXPECT(record.runs == 1 && !std::strcmp(record.name, "aten::add.out"));
    EXPECT(record.read_bytes == 48 && record.written_bytes == 24);
    EXPECT(penlight_method_profile(add.method, 1, &record, &add.error));
}

CLAIM(profiling_follows_views_and_delegates) {
    Loaded view("view"), reference("reference");
    Given x({2, 3}, {1, 2, 3, 4, 5, 6}), y({2, 3}, Numbers(6, 1));
    for (Loaded* program : {&view, &reference}) {
        EXPECT(!penlight_method_set_profiling(program->method, true, &program->error));
        EXPECT(program->give(0, x) == PENLIGHT_OK);
        if (program == &reference) EXPECT(program->give(1, y) == PENLIGHT_OK);
        program->run();
        uint64_t runs = 0, bytes = 0;
        size_t count = penlight_method_profile_count(program->method);
        for (size_t i = 0; i < count; i++) {
            penlight_profile_record record{};
            EXPECT(!penlight_method_profile(program->method, i, &record, &program->error));
            EXPECT(record.kind == PENLIGHT_PROFILE_KERNEL || program == &reference);
            runs += record.runs;
            bytes += record.read_bytes + record.written_bytes;
        }
        EXPECT(runs == count && bytes >= 48);
        EXPECT(!penlight_method_set_profiling(program->method, false, &program->error));
        EXPECT(penlight_method_profile_count(program->method) == 0);
    }
}

CLAIM(a_profile_without_memory_is_refused) {
    EXPECT(penlight_method_set_profiling(nullptr, true, nullptr));
    EXPECT(penlight_method_profile(nullptr, 0, nullptr, nullptr));
    EXPECT(penlight_method_profile_count(nullptr) == 0);
    Loaded add("add");
    penlight_probe probe{};
    EXPECT(penlight_runtime_probe(add.runtime, 1, &probe, &add.error) == PENLIGHT_INVALID_ARGUMENT);
    EXPECT(penlight_runtime_probe(nullptr, 0, &probe, nullptr) == PENLIGHT_INVALID_ARGUMENT);
    EXPECT(penlight_runtime_probe(add.runtime, size_t{1} << 60, &probe, &add.error) ==
           PENLIGHT_OUT_OF_MEMORY);
    EXPECT(probe.threads == 0);
    EXPECT(!penlight_runtime_probe(add.runtime, (size_t{1} << 20) + 64, &probe, &add.error));
    EXPECT(probe.threads == penlight_runtime_threads(add.runtime));
    EXPECT(probe.read_bytes_per_second > 1e6 && probe.multiply_adds_per_second > 1e6);
}

}  // namespace
