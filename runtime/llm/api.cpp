// Opening, describing and closing a language model.
#include <new>

#include "model.h"

using namespace penlight;
using namespace penlight::llm;

namespace {

penlight_status open(penlight_program* program, bool owns, const penlight_llm_options* options,
                     double begin, penlight_llm** out, penlight_error* error) {
    auto* llm = new (std::nothrow) penlight_llm;
    if (!llm) {
        if (owns) penlight_program_close(program);
        return code(report(error, Status::out_of_memory, "llm", "no memory is left"));
    }
    llm->program = program;
    llm->owns_program = owns;
    Status status = open_model(*llm, options ? *options : penlight_llm_options{}, error);
    if (status != Status::ok) {
        delete llm;
        return code(status);
    }
    llm->load_seconds = now() - begin;
    *out = llm;
    return PENLIGHT_OK;
}

}  // namespace

penlight_status penlight_llm_open(penlight_runtime* runtime, const char* path,
                                  const penlight_llm_options* options, penlight_llm** llm,
                                  penlight_error* error) {
    if (!llm) {
        return code(report(error, Status::invalid_argument, "penlight_llm_open",
                           "expected a place for the model but got NULL"));
    }
    double begin = now();
    penlight_program* program = nullptr;
    penlight_status status = penlight_program_open(runtime, path, &program, error);
    if (status != PENLIGHT_OK) return status;
    return open(program, true, options, begin, llm, error);
}

penlight_status penlight_llm_from_program(penlight_program* program,
                                          const penlight_llm_options* options, penlight_llm** llm,
                                          penlight_error* error) {
    if (!program || !llm) {
        return code(report(error, Status::invalid_argument, "penlight_llm_from_program",
                           "expected a program and a place for the model but one is NULL"));
    }
    return open(program, false, options, now(), llm, error);
}

void penlight_llm_close(penlight_llm* llm) { delete llm; }

void penlight_llm_get_info(const penlight_llm* llm, penlight_llm_info* info) {
    if (!llm || !info) return;
    *info = {};
    info->vocabulary_size = llm->vocabulary_size;
    info->max_context = llm->max_context;
    info->prefill_chunk = llm->chunk;
    info->bos_id = llm->bos_id;
    info->eos_ids = llm->eos_ids.data();
    info->eos_count = llm->eos_ids.size();
    info->context_used = static_cast<uint32_t>(llm->cached.size());
    info->load_seconds = llm->load_seconds;
    info->draft_length = llm->verify_length ? llm->verify_length - 1 : 0;
}

penlight_llm_sampling penlight_llm_default_sampling(const penlight_llm*) {
    penlight_llm_sampling s{};
    s.top_p = 1;
    s.typical_p = 1;
    s.repetition_penalty = 1;
    return s;
}

penlight_method* penlight_llm_method(penlight_llm* llm, size_t index) {
    if (!llm || index > 1) return nullptr;
    return index == 0 ? llm->forward : llm->verify;
}

const int32_t* penlight_llm_tokens(const penlight_llm* llm, size_t* count) {
    if (count) *count = llm ? llm->cached.size() : 0;
    return llm ? llm->cached.data() : nullptr;
}

void penlight_llm_truncate(penlight_llm* llm, size_t count) {
    if (llm) llm->cached.shrink(count);
}

penlight_status penlight_llm_token_bytes(const penlight_llm* llm, int32_t token, const char** bytes,
                                         size_t* size, penlight_error* error) {
    if (!llm || !bytes || !size || token < 0 ||
        static_cast<uint32_t>(token) >= llm->vocabulary_size) {
        return code(report(error, Status::invalid_argument, "penlight_llm_token_bytes",
                           "expected a model and one of its tokens but got token %d", token));
    }
    if (llm->vocabulary_count == 0) {
        return code(report(error, Status::not_found, "penlight.vocabulary",
                           "expected a table of token bytes but the program has none; export it "
                           "again with its tokenizer"));
    }
    token_bytes(*llm, token, bytes, size);
    return PENLIGHT_OK;
}
