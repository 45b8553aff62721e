#include "claims.h"

#include <cstring>
#include <fstream>
#include <iterator>

#include "kernel.h"

static Claim* first_claim = nullptr;
static std::string folder;

Claim::Claim(const char* name, void (*check)()) : name(name), check(check), next(first_claim) {
    first_claim = this;
}

void broken(const char* file, int line, const char* condition) {
    std::fprintf(stderr, "%s:%d: expected %s\n", file, line, condition);
    std::exit(1);
}

std::vector<char> read_program(const char* name) {
    std::ifstream file(folder + "/" + name + ".pte", std::ios::binary);
    EXPECT(file.good());
    return {std::istreambuf_iterator<char>(file), {}};
}

Given::Given(std::vector<int64_t> given_sizes, std::vector<float> given_data)
    : data(std::move(given_data)), sizes(std::move(given_sizes)) {
    tensor.dtype = PENLIGHT_FLOAT;
    tensor.rank = static_cast<int32_t>(sizes.size());
    tensor.sizes = sizes.data();
    tensor.data = data.data();
}

Loaded::Loaded(const char* name, const penlight_runtime_options* options) {
    std::string path = folder + "/" + name + ".pte";
    if (penlight_runtime_create(options, &runtime, &error) ||
        penlight_program_open(runtime, path.c_str(), &program, &error) ||
        penlight_method_load(program, "forward", nullptr, &method, &error))
        broken(name, 0, error.message);
}

Loaded::~Loaded() {
    // In the order that only reference counts make harmless.
    penlight_runtime_free(runtime);
    penlight_program_close(program);
    penlight_method_free(method);
}

penlight_status Loaded::give(size_t index, Given& input) {
    return penlight_method_set_input_tensor(method, index, &input.tensor, &error);
}

void Loaded::run() {
    if (penlight_method_execute(method, &error)) broken("execute", 0, error.message);
}

std::vector<float> Loaded::output(size_t index) {
    const penlight_value* value = nullptr;
    EXPECT(penlight_method_output(method, index, &value, &error) == PENLIGHT_OK);
    EXPECT(value->tag == PENLIGHT_TENSOR);
    const auto* data = static_cast<const float*>(value->as.tensor->data);
    return {data, data + static_cast<const penlight::Tensor*>(value->as.tensor)->numel()};
}

int main(int count, char** arguments) {
    bool list = count == 2 && std::strcmp(arguments[1], "--list") == 0;
    if (count == 3) folder = arguments[1];
    for (Claim* claim = first_claim; claim; claim = claim->next) {
        if (list) std::puts(claim->name);
        if (count != 3 || std::strcmp(arguments[2], claim->name) != 0) continue;
        claim->check();
        return 0;
    }
    return list ? 0 : 2;
}
