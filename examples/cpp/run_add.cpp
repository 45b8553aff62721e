// Adds two numbers with a program that examples/add.py has exported:  run_add add.pte 1 2
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "penlight/penlight.h"

namespace {

// Frees a handle when it goes out of scope.
template <class T> using Handle = std::unique_ptr<T, void (*)(T*)>;

int fail(const penlight_error& error) {
    std::fprintf(stderr, "%s\n", error.message);
    return 1;
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 4) {
        std::fprintf(stderr, "usage: run_add PROGRAM.pte X Y\n");
        return 2;
    }
    penlight_error error;
    penlight_runtime* made = nullptr;
    if (penlight_runtime_create(nullptr, &made, &error)) return fail(error);
    Handle<penlight_runtime> runtime(made, penlight_runtime_free);

    penlight_program* opened = nullptr;
    if (penlight_program_open(runtime.get(), arguments[1], &opened, &error)) return fail(error);
    Handle<penlight_program> program(opened, penlight_program_close);

    penlight_method* loaded = nullptr;
    if (penlight_method_load(program.get(), "forward", nullptr, &loaded, &error))
        return fail(error);
    Handle<penlight_method> method(loaded, penlight_method_free);

    float numbers[2] = {std::strtof(arguments[2], nullptr), std::strtof(arguments[3], nullptr)};
    int64_t sizes[1] = {1};
    for (size_t i = 0; i < 2; i++) {
        penlight_tensor tensor{};
        tensor.dtype = PENLIGHT_FLOAT;
        tensor.rank = 1;
        tensor.sizes = sizes;
        tensor.data = &numbers[i];  // borrowed until the run is over
        if (penlight_method_set_input_tensor(method.get(), i, &tensor, &error)) return fail(error);
    }
    if (penlight_method_execute(method.get(), &error)) return fail(error);

    const penlight_value* sum = nullptr;
    if (penlight_method_output(method.get(), 0, &sum, &error)) return fail(error);
    std::printf("%g\n", *static_cast<const float*>(sum->as.tensor->data));
    return 0;
}
