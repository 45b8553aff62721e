#include "model.h"

#include <algorithm>
#include <chrono>
#include <limits>

penlight_llm::~penlight_llm() {
    penlight_method_free(verify);
    penlight_method_free(forward);
    if (owns_program) penlight_program_close(program);
}

namespace penlight::llm {

namespace {

constexpr uint32_t default_chunk = 512;
constexpr int64_t most_verified = 64;  // beyond this no draft pays
constexpr int64_t most_context = 1 << 30;
constexpr int64_t most_vocabulary = 1 << 26;

Status status_of(penlight_status status) { return static_cast<Status>(status); }

bool has_method(const penlight_program* program, const char* name) {
    for (size_t i = 0; i < penlight_program_method_count(program); i++) {
        if (std::strcmp(penlight_program_method_name(program, i), name) == 0) return true;
    }
    return false;
}

// Every integer among the outputs of a constant method, tensors of int64 included.
Status append_integers(const penlight_value& value, Buffer<int64_t>* out, penlight_error* error) {
    bool fits = true;
    if (value.tag == PENLIGHT_INT) {
        fits = out->push(value.as.integer);
    } else if (value.tag == PENLIGHT_BOOLEAN) {
        fits = out->push(value.as.boolean ? 1 : 0);
    } else if (value.tag == PENLIGHT_INT_LIST) {
        for (uint32_t i = 0; i < value.count && fits; i++) {
            fits = out->push(value.as.values[i]->as.integer);
        }
    } else if (value.tag == PENLIGHT_TENSOR && value.as.tensor->dtype == PENLIGHT_INT64) {
        const auto& tensor = *static_cast<const Tensor*>(value.as.tensor);
        fits = out->append(tensor.ptr<int64_t>(), static_cast<size_t>(tensor.numel()));
    }
    return fits ? Status::ok : report(error, Status::out_of_memory, "llm", "no memory is left");
}

// The integers that a constant method gives; none if the program does not have it.
Status constants(penlight_program* program, const char* name, Buffer<int64_t>* out,
                 penlight_error* error) {
    out->shrink(0);
    if (!has_method(program, name)) return Status::ok;
    size_t inputs = 0, outputs = 0;
    PENLIGHT_TRY(
        status_of(penlight_program_method_counts(program, name, &inputs, &outputs, error)));
    if (inputs != 0) {
        return report(error, Status::invalid_program, name,
                      "expected a constant method but it takes %zu inputs; export the model again",
                      inputs);
    }
    penlight_method* method = nullptr;
    PENLIGHT_TRY(status_of(penlight_method_load(program, name, nullptr, &method, error)));
    Status status = status_of(penlight_method_execute(method, error));
    for (size_t i = 0; i < outputs && status == Status::ok; i++) {
        const penlight_value* value = nullptr;
        status = status_of(penlight_method_output(method, i, &value, error));
        if (status == Status::ok) status = append_integers(*value, out, error);
    }
    penlight_method_free(method);
    return status;
}

// One integer in [low, high], or `missing` if the program does not say.
Status constant(penlight_program* program, const char* name, int64_t low, int64_t high,
                int64_t missing, int64_t* out, penlight_error* error) {
    Buffer<int64_t> values;
    PENLIGHT_TRY(constants(program, name, &values, error));
    *out = values.size() ? values[0] : missing;
    if (*out >= low && *out <= high) return Status::ok;
    return report(error, Status::invalid_program, name,
                  "expected a number from %lld to %lld but got %lld; export the model again",
                  static_cast<long long>(low), static_cast<long long>(high),
                  static_cast<long long>(*out));
}

Status not_a_language_model(penlight_error* error, const char* expected, const char* got) {
    return report(error, Status::invalid_program, "llm",
                  "expected a language model, %s, but got %s; export one with `penlight export`",
                  expected, got);
}

Status check_forward(penlight_llm& llm, penlight_error* error) {
    const char* shape = "forward(tokens int64 [1,T], input_pos int64 [1])";
    if (!has_method(llm.program, "forward")) {
        return not_a_language_model(error, shape, "a program without a method forward");
    }
    size_t inputs = 0, outputs = 0;
    PENLIGHT_TRY(status_of(
        penlight_program_method_counts(llm.program, "forward", &inputs, &outputs, error)));
    if (inputs != 2 || outputs != 1) {
        return not_a_language_model(error, shape, "another number of inputs or outputs");
    }
    penlight_value_info tokens, position, logits;
    PENLIGHT_TRY(status_of(penlight_program_input_info(llm.program, "forward", 0, &tokens, error)));
    PENLIGHT_TRY(
        status_of(penlight_program_input_info(llm.program, "forward", 1, &position, error)));
    PENLIGHT_TRY(
        status_of(penlight_program_output_info(llm.program, "forward", 0, &logits, error)));
    if (tokens.tag != PENLIGHT_TENSOR || tokens.dtype != PENLIGHT_INT64 || tokens.rank != 2 ||
        tokens.sizes[0] != 1 || tokens.sizes[1] < 1 || position.tag != PENLIGHT_TENSOR ||
        position.dtype != PENLIGHT_INT64 || position.rank != 1 || position.sizes[0] != 1) {
        return not_a_language_model(error, shape, "inputs of other types or shapes");
    }
    bool number = logits.dtype == PENLIGHT_FLOAT || logits.dtype == PENLIGHT_HALF ||
                  logits.dtype == PENLIGHT_BFLOAT16;
    if (logits.tag != PENLIGHT_TENSOR || !number || logits.rank < 2 || logits.rank > 3 ||
        logits.sizes[0] != 1 || logits.sizes[logits.rank - 1] < 1 ||
        logits.sizes[logits.rank - 1] > most_vocabulary) {
        return not_a_language_model(error, "logits float32 [1,V]", "an output of another kind");
    }
    llm.vocabulary_size = static_cast<uint32_t>(logits.sizes[logits.rank - 1]);
    auto bound = static_cast<uint32_t>(std::min(tokens.sizes[1], most_context));
    llm.chunk = bound;
    llm.static_chunk = tokens.dynamism == PENLIGHT_STATIC ? bound : 0;
    if (llm.static_chunk > 1) {
        return not_a_language_model(error, "whose tokens [1,T] vary in length or are one at a time",
                                    "a fixed length");
    }
    return Status::ok;
}

Status read_constants(penlight_llm& llm, const penlight_llm_options& options,
                      penlight_error* error) {
    int64_t sequence, context, bos, vocabulary;
    penlight_program* p = llm.program;
    PENLIGHT_TRY(constant(p, "get_max_seq_len", 1, most_context, llm.chunk, &sequence, error));
    PENLIGHT_TRY(constant(p, "get_max_context_len", 1, most_context, sequence, &context, error));
    PENLIGHT_TRY(constant(p, "get_bos_id", -1, most_vocabulary, -1, &bos, error));
    PENLIGHT_TRY(
        constant(p, "get_vocab_size", 1, most_vocabulary, llm.vocabulary_size, &vocabulary, error));
    llm.program_context = static_cast<uint32_t>(context);
    llm.max_context = llm.program_context;
    if (options.max_context) llm.max_context = std::min(llm.max_context, options.max_context);
    llm.bos_id = static_cast<int32_t>(bos);
    uint32_t wanted = options.prefill_chunk ? options.prefill_chunk : default_chunk;
    llm.chunk = std::max<uint32_t>(1, std::min({llm.chunk, wanted, llm.max_context}));
    Buffer<int64_t> ids;
    PENLIGHT_TRY(constants(p, "get_eos_ids", &ids, error));
    if (ids.size() == 0) PENLIGHT_TRY(constants(p, "get_eos_id", &ids, error));
    for (size_t i = 0; i < ids.size(); i++) {
        bool possible = ids[i] >= 0 && ids[i] < llm.vocabulary_size;
        if (possible && !llm.eos_ids.push(static_cast<int32_t>(ids[i]))) {
            return report(error, Status::out_of_memory, "llm", "no memory is left");
        }
    }
    return Status::ok;
}

Status read_vocabulary(penlight_llm& llm, penlight_error* error) {
    const void* data = nullptr;
    size_t size = 0;
    if (penlight_program_named_data(llm.program, "penlight.vocabulary", &data, &size, nullptr)) {
        return Status::ok;  // tokens only
    }
    const char* bytes = static_cast<const char*>(data);
    auto bad = [&](const char* what) {
        return report(error, Status::invalid_program, "penlight.vocabulary",
                      "expected a table of token bytes but %s; export the model again", what);
    };
    if (size < 8) return bad("it is cut short");
    uint64_t count = read_u32(bytes);
    uint64_t begin = 4 + 4 * (count + 1);
    if (begin > size) return bad("its offsets are cut short");
    uint32_t last = 0;
    for (uint64_t i = 0; i <= count; i++) {
        uint32_t offset = read_u32(bytes + 4 + 4 * i);
        if (offset < last) return bad("its offsets go backwards");
        last = offset;
    }
    if (last > size - begin) return bad("its bytes are cut short");
    llm.vocabulary_count = static_cast<uint32_t>(count);
    llm.vocabulary_offsets = bytes + 4;
    llm.vocabulary_bytes = bytes + begin;
    return Status::ok;
}

float widen_half(uint16_t half) {
    uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 31u, fraction = half & 1023u;
    float value;
    if (exponent == 0) {
        value = static_cast<float>(fraction) * 0x1p-24f;
        return sign ? -value : value;
    }
    uint32_t bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// Whether the program has a method verify of the shape that the header tells.
bool has_verify(const penlight_llm& llm) {
    penlight_program* p = llm.program;
    size_t inputs = 0, outputs = 0;
    penlight_value_info tokens, position, logits;
    if (!has_method(p, "verify") ||
        penlight_program_method_counts(p, "verify", &inputs, &outputs, nullptr) || inputs != 2 ||
        outputs != 1 || penlight_program_input_info(p, "verify", 0, &tokens, nullptr) ||
        penlight_program_input_info(p, "verify", 1, &position, nullptr) ||
        penlight_program_output_info(p, "verify", 0, &logits, nullptr)) {
        return false;
    }
    return tokens.tag == PENLIGHT_TENSOR && tokens.dtype == PENLIGHT_INT64 && tokens.rank == 2 &&
           tokens.sizes[0] == 1 && tokens.sizes[1] >= 2 && tokens.dynamism != PENLIGHT_STATIC &&
           position.tag == PENLIGHT_TENSOR && position.dtype == PENLIGHT_INT64 &&
           position.rank == 1 && position.sizes[0] == 1 && logits.tag == PENLIGHT_TENSOR &&
           logits.dtype == PENLIGHT_FLOAT && logits.rank == 3 && logits.sizes[0] == 1 &&
           logits.sizes[1] == tokens.sizes[1] && logits.sizes[2] == llm.vocabulary_size;
}

// Without one, or with one of another state, there is no speculation, and nothing else is missing.
Status load_verify(penlight_llm& llm, penlight_error* error) {
    if (!has_verify(llm)) return Status::ok;
    penlight_value_info tokens;
    PENLIGHT_TRY(status_of(penlight_program_input_info(llm.program, "verify", 0, &tokens, error)));
    penlight_error local{};
    Status status =
        status_of(penlight_method_load_sharing(llm.forward, "verify", &llm.verify, &local));
    if (status == Status::invalid_argument) return Status::ok;
    if (status != Status::ok) {
        if (error) *error = local;
        return status;
    }
    llm.verify_length = static_cast<uint32_t>(std::min<int64_t>(tokens.sizes[1], most_verified));
    return Status::ok;
}

// The last row of logits [1,V] or [1,T,V], as float32.
Status take_logits(penlight_llm& llm, penlight_error* error) {
    const penlight_value* value = nullptr;
    PENLIGHT_TRY(status_of(penlight_method_output(llm.forward, 0, &value, error)));
    const auto& tensor = *static_cast<const Tensor*>(value->as.tensor);
    auto v = static_cast<int64_t>(llm.vocabulary_size);
    int64_t n = tensor.numel();
    if (n < v || tensor.size(tensor.rank - 1) != v || !tensor.data) {
        return report(error, Status::execution_failed, "forward",
                      "expected logits of %lld tokens but got %lld numbers",
                      static_cast<long long>(v), static_cast<long long>(n));
    }
    if (tensor.dtype == PENLIGHT_FLOAT) {
        llm.logits = tensor.ptr<float>() + (n - v);
        return Status::ok;
    }
    float* out = llm.wide.data();
    llm.logits = out;
    const uint16_t* in = tensor.ptr<uint16_t>() + (n - v);
    for (int64_t i = 0; i < v; i++) {
        uint32_t bits = static_cast<uint32_t>(in[i]) << 16;
        if (tensor.dtype == PENLIGHT_HALF) {
            out[i] = widen_half(in[i]);
        } else {
            std::memcpy(out + i, &bits, sizeof bits);
        }
    }
    return Status::ok;
}

}  // namespace

double now() {
    using namespace std::chrono;
    return duration<double>(steady_clock::now().time_since_epoch()).count();
}

Status open_model(penlight_llm& llm, const penlight_llm_options& options, penlight_error* error) {
    PENLIGHT_TRY(check_forward(llm, error));
    PENLIGHT_TRY(read_constants(llm, options, error));
    PENLIGHT_TRY(read_vocabulary(llm, error));
    PENLIGHT_TRY(
        status_of(penlight_method_load(llm.program, "forward", nullptr, &llm.forward, error)));
    PENLIGHT_TRY(load_verify(llm, error));
    if (!llm.input.resize(std::max(llm.chunk, llm.verify_length)) ||
        !llm.wide.resize(llm.vocabulary_size) || !llm.sampler.prepare(llm.vocabulary_size)) {
        return report(error, Status::out_of_memory, "llm",
                      "no memory is left for a vocabulary of %u tokens", llm.vocabulary_size);
    }
    return Status::ok;
}

Status check_tokens(const penlight_llm& llm, const int32_t* tokens, size_t count,
                    penlight_error* error) {
    if (!tokens || count == 0) {
        return report(error, Status::invalid_argument, "llm",
                      "expected at least one token but got none; begin with the model's bos token");
    }
    if (count > llm.max_context) {
        return report(error, Status::invalid_argument, "llm",
                      "expected at most %u tokens, the context length, but got %zu; shorten the "
                      "prompt or drop earlier turns",
                      llm.max_context, count);
    }
    for (size_t i = 0; i < count; i++) {
        if (tokens[i] < 0 || static_cast<uint32_t>(tokens[i]) >= llm.vocabulary_size) {
            return report(error, Status::invalid_argument, "llm",
                          "expected tokens below %u, the vocabulary's size, but token %zu is %d; "
                          "use the tokenizer of this model",
                          llm.vocabulary_size, i, tokens[i]);
        }
    }
    return Status::ok;
}

namespace {

// Run a method that takes at most `most` tokens on those after what the cache holds.
Status run(penlight_llm& llm, penlight_method* method, size_t most, const int32_t* tokens,
           size_t count, penlight_error* error) {
    size_t position = llm.cached.size();
    if (count == 0 || count > most || position + count > llm.max_context) {
        return report(error, Status::invalid_argument, "llm",
                      "expected room for %zu tokens but %zu of %u are used; drop earlier turns",
                      count, position, llm.max_context);
    }
    for (size_t i = 0; i < count; i++) llm.input[i] = tokens[i];
    int64_t shape[2] = {1, static_cast<int64_t>(count)};
    int64_t one = 1, start = static_cast<int64_t>(position);
    penlight_tensor ids{};
    ids.dtype = PENLIGHT_INT64, ids.rank = 2, ids.sizes = shape, ids.data = llm.input.data();
    penlight_tensor where{};
    where.dtype = PENLIGHT_INT64, where.rank = 1, where.sizes = &one, where.data = &start;
    PENLIGHT_TRY(status_of(penlight_method_set_input_tensor(method, 0, &ids, error)));
    PENLIGHT_TRY(status_of(penlight_method_set_input_tensor(method, 1, &where, error)));
    return status_of(penlight_method_execute(method, error));
}

}  // namespace

Status step(penlight_llm& llm, const int32_t* tokens, size_t count, penlight_error* error) {
    PENLIGHT_TRY(run(llm, llm.forward, llm.chunk, tokens, count, error));
    PENLIGHT_TRY(take_logits(llm, error));
    if (!llm.cached.append(tokens, count)) {
        return report(error, Status::out_of_memory, "llm", "no memory is left");
    }
    return Status::ok;
}

Status check(penlight_llm& llm, const int32_t* tokens, size_t count, const float** rows,
             penlight_error* error) {
    PENLIGHT_TRY(run(llm, llm.verify, llm.verify_length, tokens, count, error));
    const penlight_value* value = nullptr;
    PENLIGHT_TRY(status_of(penlight_method_output(llm.verify, 0, &value, error)));
    const auto& tensor = *static_cast<const Tensor*>(value->as.tensor);
    auto wanted = static_cast<int64_t>(count * llm.vocabulary_size);
    if (tensor.dtype != PENLIGHT_FLOAT || tensor.numel() != wanted || !tensor.data ||
        !tensor.contiguous()) {
        return report(error, Status::execution_failed, "verify",
                      "expected the logits of %zu tokens but got %lld numbers; export the model "
                      "again",
                      count, static_cast<long long>(tensor.numel()));
    }
    *rows = tensor.ptr<float>();
    return Status::ok;
}

Status advance(penlight_llm& llm, const int32_t* tokens, size_t count, penlight_error* error) {
    for (size_t done = 0; done < count;) {
        size_t n = std::min<size_t>(llm.chunk, count - done);
        PENLIGHT_TRY(step(llm, tokens + done, n, error));
        done += n;
    }
    return Status::ok;
}

void token_bytes(const penlight_llm& llm, int32_t token, const char** bytes, size_t* size) {
    *bytes = "";
    *size = 0;
    if (token < 0 || static_cast<uint32_t>(token) >= llm.vocabulary_count) return;
    const char* entry = llm.vocabulary_offsets + 4 * static_cast<size_t>(token);
    uint32_t begin = read_u32(entry);
    *bytes = llm.vocabulary_bytes + begin;
    *size = read_u32(entry + 4) - begin;
}

}  // namespace penlight::llm
