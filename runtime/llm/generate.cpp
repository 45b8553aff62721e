// Prefill what the cache does not hold yet, then one token after another until something stops it.
#include <algorithm>
#include <limits>

#include "model.h"

namespace penlight::llm {

namespace {

bool contains(const int32_t* ids, size_t count, int32_t token) {
    return std::find(ids, ids + count, token) != ids + count;
}

Status check_request(const penlight_llm& llm, const penlight_llm_request& request,
                     penlight_error* error) {
    PENLIGHT_TRY(check_tokens(llm, request.tokens, request.token_count, error));
    if (const char* expected = fault(request.sampling)) {
        return report(error, Status::invalid_argument, "llm sampling",
                      "expected %s but got something else; change the setting", expected);
    }
    for (size_t i = 0; i < request.stop_string_count; i++) {
        if (!request.stop_strings[i] || !*request.stop_strings[i]) {
            return report(error, Status::invalid_argument, "llm",
                          "expected stop strings of at least one byte but number %zu is empty", i);
        }
    }
    if (request.stop_string_count && llm.vocabulary_count == 0) {
        return report(error, Status::unsupported, "llm",
                      "stop strings need the named data penlight.vocabulary, which this program "
                      "lacks; use stop ids");
    }
    return Status::ok;
}

// How many tokens of the request the cache holds; the last must run, to have its logits.
size_t reusable(const penlight_llm& llm, const penlight_llm_request& request) {
    size_t most = std::min(llm.cached.size(), request.token_count - 1), n = 0;
    while (n < most && llm.cached[n] == request.tokens[n]) n++;
    return n;
}

Status prefill(penlight_llm& llm, const penlight_llm_request& request, penlight_llm_result* result,
               penlight_error* error) {
    double begin = now();
    size_t done = reusable(llm, request);
    result->reused_tokens = done;
    llm.cached.shrink(done);
    while (done < request.token_count && result->stop == PENLIGHT_LLM_STOP_NONE) {
        if (llm.cancelled.load(std::memory_order_relaxed)) {
            result->stop = PENLIGHT_LLM_STOP_CANCELLED;
            break;
        }
        size_t n = std::min<size_t>(llm.chunk, request.token_count - done);
        PENLIGHT_TRY(step(llm, request.tokens + done, n, error));
        done += n;
        if (request.on_prefill && !request.on_prefill(request.user, done, request.token_count)) {
            result->stop = PENLIGHT_LLM_STOP_CALLBACK;
        }
    }
    result->prefill_seconds = now() - begin;
    return Status::ok;
}

// Why generation ends with this token, if it does.
penlight_llm_stop reason_to_stop(const penlight_llm& llm, const penlight_llm_request& request,
                                 int32_t token, size_t generated) {
    bool eos = !request.ignore_eos && contains(llm.eos_ids.data(), llm.eos_ids.size(), token);
    if (eos || contains(request.stop_ids, request.stop_id_count, token)) {
        return PENLIGHT_LLM_STOP_EOS;
    }
    if (llm.text.stopped()) return PENLIGHT_LLM_STOP_STRING;
    if (request.max_new_tokens && generated >= request.max_new_tokens) {
        return PENLIGHT_LLM_STOP_LENGTH;
    }
    if (llm.cached.size() >= llm.max_context) return PENLIGHT_LLM_STOP_CONTEXT;
    if (llm.cancelled.load(std::memory_order_relaxed)) return PENLIGHT_LLM_STOP_CANCELLED;
    return PENLIGHT_LLM_STOP_NONE;
}

// Hand one token to the caller: its text, or at the end all text that was held back.
Status deliver(penlight_llm& llm, const penlight_llm_request& request, int32_t token,
               penlight_llm_result* result, penlight_error* error) {
    const char* bytes = "";
    size_t size = 0;
    bool stop_id = reason_to_stop(llm, request, token, 0) == PENLIGHT_LLM_STOP_EOS;
    if (!stop_id) token_bytes(llm, token, &bytes, &size);
    Buffer<char> tail;
    bool fits = llm.text.append(bytes, size);
    result->stop = reason_to_stop(llm, request, token, result->generated_tokens);
    if (fits && result->stop != PENLIGHT_LLM_STOP_NONE) {
        fits = tail.append(llm.text.ready(), llm.text.ready_size()) && llm.text.finish() &&
               (llm.text.stopped() || tail.append(llm.text.ready(), llm.text.ready_size()));
    }
    if (!fits) return report(error, Status::out_of_memory, "llm", "no memory is left");
    if (!request.on_token) return Status::ok;
    float probability = request.log_probabilities
                            ? log_probability(llm.logits.data(), llm.vocabulary_size, token)
                            : std::numeric_limits<float>::quiet_NaN();
    bool last = result->stop != PENLIGHT_LLM_STOP_NONE;
    const char* text = last ? (tail.data() ? tail.data() : "") : llm.text.ready();
    size_t text_size = last ? tail.size() : llm.text.ready_size();
    if (!request.on_token(request.user, token, probability, text, text_size) && !last) {
        result->stop = PENLIGHT_LLM_STOP_CALLBACK;
    }
    return Status::ok;
}

Status decode(penlight_llm& llm, const penlight_llm_request& request, double begin,
              penlight_llm_result* result, penlight_error* error) {
    Buffer<int32_t> history;  // prompt and answer, which the penalties look at
    if (!history.append(request.tokens, request.token_count)) {
        return report(error, Status::out_of_memory, "llm", "no memory is left");
    }
    llm.sampler.start(request.sampling);
    llm.text.start(request.stop_strings, request.stop_string_count);
    double first = 0;
    while (result->stop == PENLIGHT_LLM_STOP_NONE) {
        if (result->generated_tokens) {
            PENLIGHT_TRY(step(llm, &history[history.size() - 1], 1, error));
        }
        int32_t token = llm.sampler.sample(llm.logits.data(), history.data(), history.size());
        if (token < 0) {
            return report(error, Status::execution_failed, "llm",
                          "expected logits that are numbers but every one is NaN; the weights or "
                          "the export are broken");
        }
        if (!history.push(token)) {
            return report(error, Status::out_of_memory, "llm", "no memory is left");
        }
        if (result->generated_tokens++ == 0) {
            first = now();
            result->first_token_seconds = first - begin;
        }
        PENLIGHT_TRY(deliver(llm, request, token, result, error));
        result->decode_seconds = now() - first;
    }
    return Status::ok;
}

}  // namespace

}  // namespace penlight::llm

using namespace penlight;
using namespace penlight::llm;

penlight_status penlight_llm_generate(penlight_llm* llm, const penlight_llm_request* request,
                                      penlight_llm_result* result, penlight_error* error) {
    if (!llm || !request || !result) {
        return code(report(error, Status::invalid_argument, "penlight_llm_generate",
                           "expected a model, a request and a result but one is NULL"));
    }
    double begin = now();
    *result = {};
    llm->cancelled.store(false, std::memory_order_relaxed);
    Status status = check_request(*llm, *request, error);
    if (status == Status::ok) status = prefill(*llm, *request, result, error);
    if (status == Status::ok) status = decode(*llm, *request, begin, result, error);
    result->prompt_tokens = request->token_count;
    result->context_used = llm->cached.size();
    return code(status);
}

void penlight_llm_cancel(penlight_llm* llm) {
    if (llm) llm->cancelled.store(true, std::memory_order_relaxed);
}

penlight_status penlight_llm_score(penlight_llm* llm, const int32_t* tokens, size_t count,
                                   float* log_probabilities, int32_t* top, penlight_error* error) {
    if (!llm || (count > 1 && !log_probabilities)) {
        return code(report(error, Status::invalid_argument, "penlight_llm_score",
                           "expected a model and room for the result but one is NULL"));
    }
    Status status = check_tokens(*llm, tokens, count, error);
    if (status != Status::ok) return code(status);
    llm->cached.shrink(0);
    for (size_t i = 0; i + 1 < count; i++) {
        status = step(*llm, tokens + i, 1, error);
        if (status != Status::ok) return code(status);
        const float* logits = llm->logits.data();
        log_probabilities[i] = log_probability(logits, llm->vocabulary_size, tokens[i + 1]);
        if (top) top[i] = argmax(logits, llm->vocabulary_size);
    }
    return PENLIGHT_OK;
}

penlight_status penlight_llm_forward(penlight_llm* llm, const int32_t* tokens, size_t count,
                                     const float** logits, penlight_error* error) {
    if (!llm || !logits) {
        return code(report(error, Status::invalid_argument, "penlight_llm_forward",
                           "expected a model and a place for the logits but one is NULL"));
    }
    Status status = check_tokens(*llm, tokens, count, error);
    if (status == Status::ok && count > llm->max_context - llm->cached.size()) {
        status = report(error, Status::invalid_argument, "llm",
                        "expected room for %zu tokens but %zu of %u are used; drop earlier turns",
                        count, llm->cached.size(), llm->max_context);
    }
    if (status == Status::ok) status = advance(*llm, tokens, count, error);
    if (status == Status::ok) *logits = llm->logits.data();
    return code(status);
}
