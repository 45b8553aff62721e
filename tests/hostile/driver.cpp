// Runs every program of a pack as far as it will go, and says how far that was.
//
//   driver PACK      a pack is a run of [u32 size][bytes], little-endian
//
// Prints one line per program: "ok", or its first error. Each program lies in memory of exactly its
// own size, so that a sanitizer sees any access outside it.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernel.h"

// The kernels that the programs use, instead of the whole table: a sanitized build takes its time.
namespace penlight {
namespace kernels {
extern const BoxedKernel add_out_kernel, cat_out_kernel, et_view_kernel, prim_gt_kernel,
    sym_size_int_kernel;
}
KernelTable builtin_kernels() {
    static constexpr KernelEntry entries[] = {
        {"aten::add.out", &kernels::add_out_kernel},
        {"aten::cat.out", &kernels::cat_out_kernel},
        {"aten::sym_size.int", &kernels::sym_size_int_kernel},
        {"executorch_prim::et_view.default", &kernels::et_view_kernel},
        {"executorch_prim::gt.Scalar", &kernels::prim_gt_kernel},
    };
    return {entries, sizeof entries / sizeof *entries};
}
}  // namespace penlight

namespace {

constexpr size_t largest_input = 1 << 20;  // bytes; a hostile program may declare any size

// Zeros of the largest shape that the input admits.
bool give_zeros(penlight_method* method, size_t index, const penlight_value_info& info,
                std::vector<std::byte>& memory, penlight_error* error) {
    penlight_value value{};
    value.tag = info.tag;
    penlight_tensor tensor{};
    if (info.tag == PENLIGHT_TENSOR) {
        if (info.nbytes > largest_input) return false;
        memory.assign(info.nbytes + 1, std::byte{0});
        tensor.data = memory.data();
        tensor.dtype = info.dtype;
        tensor.rank = info.rank;
        tensor.sizes = const_cast<int64_t*>(info.sizes);
        tensor.dim_order = const_cast<uint8_t*>(info.dim_order);
        value.as.tensor = &tensor;
    } else if (info.tag == PENLIGHT_STRING) {
        value.as.string = "";
    }
    return penlight_method_set_input(method, index, &value, error) == PENLIGHT_OK;
}

// Touch all that is given, so that a wrong pointer or size is seen.
unsigned read_all(const void* data, size_t size) {
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++) sum += static_cast<const unsigned char*>(data)[i];
    return sum;
}

unsigned sum_outputs(penlight_method* method, size_t count, penlight_error* error) {
    unsigned sum = 0;
    for (size_t i = 0; i < count; i++) {
        const penlight_value* value = nullptr;
        if (penlight_method_output(method, i, &value, error) != PENLIGHT_OK) break;
        if (value->tag != PENLIGHT_TENSOR || !value->as.tensor->data) continue;
        size_t elements = 1;
        for (int32_t d = 0; d < value->as.tensor->rank; d++)
            elements *= static_cast<size_t>(value->as.tensor->sizes[d]);
        sum += read_all(value->as.tensor->data, elements);  // one byte of each at least
    }
    return sum;
}

unsigned run_method(penlight_program* program, const char* name, penlight_error* error) {
    size_t inputs = 0, outputs = 0;
    penlight_memory_info memory;
    if (penlight_program_method_counts(program, name, &inputs, &outputs, error)) return 0;
    if (penlight_program_method_memory(program, name, &memory, error)) return 0;
    penlight_value_info info;
    for (size_t i = 0; i < outputs; i++)
        if (penlight_program_output_info(program, name, i, &info, error)) return 0;
    penlight_method* method = nullptr;
    if (penlight_method_load(program, name, nullptr, &method, error)) return 0;
    std::vector<std::vector<std::byte>> data(inputs);
    unsigned sum = 0;
    for (int round = 0; round < 2; round++) {
        size_t given = 0;
        while (given < inputs && !penlight_program_input_info(program, name, given, &info, error) &&
               give_zeros(method, given, info, data[given], error))
            given++;
        if (given < inputs || penlight_method_execute(method, error)) break;
        sum += sum_outputs(method, outputs, error);
        if (penlight_method_reset(method, error)) break;
    }
    penlight_method_free(method);
    return sum;
}

unsigned run_program(penlight_runtime* runtime, const void* data, size_t size,
                     penlight_error* error) {
    penlight_program* program = nullptr;
    if (penlight_program_open_memory(runtime, data, size, &program, error)) return 0;
    unsigned sum = 0;
    for (size_t i = 0; i < penlight_program_named_data_count(program); i++) {
        const void* named = nullptr;
        size_t length = 0;
        const char* key = penlight_program_named_data_key(program, i);
        if (!penlight_program_named_data(program, key, &named, &length, error))
            sum += read_all(named, length);
    }
    for (size_t i = 0; i < penlight_program_method_count(program) && !error->status; i++)
        sum += run_method(program, penlight_program_method_name(program, i), error);
    penlight_program_close(program);
    return sum;
}

}  // namespace

int main(int count, char** arguments) {
    FILE* pack = count == 2 ? std::fopen(arguments[1], "rb") : nullptr;
    penlight_error error{};
    penlight_runtime_options options{};
    options.threads = 1;
    penlight_runtime* runtime = nullptr;
    if (!pack || penlight_runtime_create(&options, &runtime, &error)) return 2;
    uint32_t size = 0;
    unsigned sum = 0;
    while (std::fread(&size, sizeof size, 1, pack) == 1) {
        void* data = std::malloc(size ? size : 1);  // aligned to 16 bytes, so it is used in place
        if (size && std::fread(data, size, 1, pack) != 1) return 2;
        error = {};
        sum += run_program(runtime, data, size, &error);
        std::puts(error.status ? error.message : "ok");
        std::fflush(stdout);
        std::free(data);
    }
    penlight_runtime_free(runtime);
    std::fclose(pack);
    std::fprintf(stderr, "%u\n", sum);  // so that no read is optimised away
    return 0;
}
