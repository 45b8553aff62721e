// Runs the calls of a pack and writes what they give, on whatever processor this was built for.
//
//   driver PACK RESULTS [THREADS]
//
// Everything is little-endian 64-bit words; bytes are a word with their count, then themselves,
// filled up to whole words. A value is its penlight_tag and then
//   INT, BOOLEAN: a word; REAL: the bits of a double; NONE: nothing;
//   TENSOR: dtype, rank, sizes [rank], dim_order [rank], bytes.
//   PACK      programs: bytes, calls, and for each call: method (bytes), values (count first)
//   RESULTS   the instruction set (bytes), and for each call: status, message (bytes), values
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "penlight/penlight.h"

namespace {

[[noreturn]] void die(const char* why) {
    std::fprintf(stderr, "driver: %s\n", why);
    std::exit(2);
}

class Reader {
  public:
    explicit Reader(const char* path) : file_(std::fopen(path, "rb")) {
        if (!file_) die("the pack cannot be opened");
    }
    bool more() {
        int c = std::fgetc(file_);
        return c != EOF && std::ungetc(c, file_) != EOF;
    }
    uint64_t word() {
        uint64_t value = 0;
        read(&value, sizeof value);
        return value;
    }
    // Words, so that the bytes are aligned as a program's must be.
    std::vector<std::max_align_t> bytes(size_t* size) {
        *size = static_cast<size_t>(word());
        std::vector<std::max_align_t> data(*size / sizeof(std::max_align_t) + 1);
        read(data.data(), (*size + 7) / 8 * 8);
        return data;
    }
    std::string text() {
        size_t size;
        auto data = bytes(&size);
        return {reinterpret_cast<const char*>(data.data()), size};
    }

  private:
    void read(void* data, size_t size) {
        if (size && std::fread(data, size, 1, file_) != 1) die("the pack is cut short");
    }
    std::FILE* file_;
};

class Writer {
  public:
    explicit Writer(const char* path) : file_(std::fopen(path, "wb")) {
        if (!file_) die("the results cannot be opened");
    }
    void word(uint64_t value) { write(&value, sizeof value); }
    void bytes(const void* data, size_t size) {
        const char padding[8] = {};
        word(size);
        write(data, size);
        write(padding, (8 - size % 8) % 8);
    }
    void finish() {
        if (std::fclose(file_) != 0) die("the results cannot be written");
    }

  private:
    void write(const void* data, size_t size) {
        if (size && std::fwrite(data, size, 1, file_) != 1) die("the results cannot be written");
    }
    std::FILE* file_;
};

struct Given {
    penlight_value value{};
    penlight_tensor tensor{};
    std::vector<int64_t> sizes;
    std::vector<uint8_t> order;
    std::vector<std::max_align_t> data;
};

void read_value(Reader& pack, Given& given) {
    given.value.tag = static_cast<penlight_tag>(pack.word());
    uint64_t bits;
    size_t size;
    switch (given.value.tag) {
        case PENLIGHT_NONE: return;
        case PENLIGHT_INT: given.value.as.integer = static_cast<int64_t>(pack.word()); return;
        case PENLIGHT_BOOLEAN: given.value.as.boolean = pack.word() != 0; return;
        case PENLIGHT_REAL:
            bits = pack.word();
            std::memcpy(&given.value.as.real, &bits, sizeof bits);
            return;
        case PENLIGHT_TENSOR: break;
        default: die("the pack holds an unknown kind of value");
    }
    penlight_tensor& t = given.tensor;
    t.dtype = static_cast<int32_t>(pack.word());
    t.rank = static_cast<int32_t>(pack.word());
    for (int32_t d = 0; d < t.rank; d++) given.sizes.push_back(static_cast<int64_t>(pack.word()));
    for (int32_t d = 0; d < t.rank; d++) given.order.push_back(static_cast<uint8_t>(pack.word()));
    given.data = pack.bytes(&size);
    t.data = given.data.data();
    t.sizes = given.sizes.data();
    t.dim_order = given.order.data();
    given.value.as.tensor = &t;
}

size_t nbytes(const penlight_tensor& t) {
    size_t count = 1;
    for (int32_t d = 0; d < t.rank; d++) count *= static_cast<size_t>(t.sizes[d]);
    switch (t.dtype) {
        case PENLIGHT_UINT8:
        case PENLIGHT_INT8:
        case PENLIGHT_BOOL: return count;
        case PENLIGHT_INT16:
        case PENLIGHT_UINT16:
        case PENLIGHT_HALF:
        case PENLIGHT_BFLOAT16: return count * 2;
        case PENLIGHT_INT32:
        case PENLIGHT_UINT32:
        case PENLIGHT_FLOAT: return count * 4;
        default: return count * 8;
    }
}

void write_value(Writer& results, const penlight_value& value) {
    results.word(value.tag);
    uint64_t bits;
    switch (value.tag) {
        case PENLIGHT_NONE: return;
        case PENLIGHT_INT: return results.word(static_cast<uint64_t>(value.as.integer));
        case PENLIGHT_BOOLEAN: return results.word(value.as.boolean ? 1 : 0);
        case PENLIGHT_REAL:
            std::memcpy(&bits, &value.as.real, sizeof bits);
            return results.word(bits);
        case PENLIGHT_TENSOR: break;
        default: die("an output is of a kind that results cannot hold");
    }
    const penlight_tensor& t = *value.as.tensor;
    results.word(static_cast<uint64_t>(t.dtype));
    results.word(static_cast<uint64_t>(t.rank));
    for (int32_t d = 0; d < t.rank; d++) results.word(static_cast<uint64_t>(t.sizes[d]));
    for (int32_t d = 0; d < t.rank; d++) results.word(t.dim_order[d]);
    results.bytes(t.data, nbytes(t));
}

struct Method {
    std::string name;
    penlight_method* method;
};

// The method of a program, loaded once: its state lives on between calls.
penlight_method* find(penlight_program* program, std::vector<Method>& loaded,
                      const std::string& name, penlight_error* error) {
    for (const Method& m : loaded)
        if (m.name == name) return m.method;
    penlight_method* method = nullptr;
    if (!penlight_method_load(program, name.c_str(), nullptr, &method, error))
        loaded.push_back({name, method});
    return method;
}

bool run(penlight_method* method, std::vector<Given>& inputs, penlight_error* error) {
    for (size_t i = 0; i < inputs.size(); i++)
        if (penlight_method_set_input(method, i, &inputs[i].value, error)) return false;
    return penlight_method_execute(method, error) == PENLIGHT_OK;
}

void run_call(Reader& pack, Writer& results, penlight_program* program, std::vector<Method>& loaded,
              penlight_error error) {
    const std::string name = pack.text();
    std::vector<Given> inputs(static_cast<size_t>(pack.word()));
    for (Given& input : inputs) read_value(pack, input);
    penlight_method* method = program ? find(program, loaded, name, &error) : nullptr;
    size_t in = 0, out = 0;
    if (!method || !run(method, inputs, &error) ||
        penlight_program_method_counts(program, name.c_str(), &in, &out, &error))
        out = 0;
    results.word(error.status);
    results.bytes(error.message, std::strlen(error.message));
    results.word(out);
    for (size_t i = 0; i < out; i++) {
        const penlight_value* value = nullptr;
        if (penlight_method_output(method, i, &value, &error)) die(error.message);
        write_value(results, *value);
    }
}

void run_program(penlight_runtime* runtime, Reader& pack, Writer& results) {
    size_t size = 0;
    const auto data = pack.bytes(&size);
    penlight_error error{};
    penlight_program* program = nullptr;
    if (penlight_program_open_memory(runtime, data.data(), size, &program, &error))
        program = nullptr;
    std::vector<Method> loaded;
    for (uint64_t calls = pack.word(); calls > 0; calls--)
        run_call(pack, results, program, loaded, error);
    for (const Method& m : loaded) penlight_method_free(m.method);
    if (program) penlight_program_close(program);
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 3) die("expected a pack and a file for the results");
    penlight_error error{};
    penlight_runtime_options options{};
    options.threads = count > 3 ? static_cast<uint32_t>(std::atoi(arguments[3])) : 1;
    penlight_runtime* runtime = nullptr;
    if (penlight_runtime_create(&options, &runtime, &error)) die(error.message);
    Reader pack(arguments[1]);
    Writer results(arguments[2]);
    const char* isa = penlight_runtime_isa(runtime);
    results.bytes(isa, std::strlen(isa));
    while (pack.more()) run_program(runtime, pack, results);
    results.finish();
    penlight_runtime_free(runtime);
    return 0;
}
