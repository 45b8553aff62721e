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
    if (request.speculation > PENLIGHT_LLM_SPECULATION_ALWAYS) {
        return report(error, Status::invalid_argument, "llm speculation",
                      "expected auto (0), off (1) or always (2) but got %u; choose one",
                      request.speculation);
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
               const float* logits, penlight_llm_result* result, penlight_error* error) {
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
                            ? log_probability(logits, llm.vocabulary_size, token)
                            : std::numeric_limits<float>::quiet_NaN();
    bool last = result->stop != PENLIGHT_LLM_STOP_NONE;
    const char* text = last ? (tail.data() ? tail.data() : "") : llm.text.ready();
    size_t text_size = last ? tail.size() : llm.text.ready_size();
    if (!request.on_token(request.user, token, probability, text, text_size) && !last) {
        result->stop = PENLIGHT_LLM_STOP_CALLBACK;
    }
    return Status::ok;
}

// The answer, token by token. llm.speculation holds prompt and answer, which the penalties look at.
class Decoder {
  public:
    Decoder(penlight_llm& llm, const penlight_llm_request& request, double begin,
            penlight_llm_result* result)
        : llm_(llm), request_(request), begin_(begin), result_(*result) {}

    Status run(penlight_error* error) {
        const uint32_t off = PENLIGHT_LLM_SPECULATION_OFF;
        const uint32_t mode = llm_.verify ? request_.speculation : off;
        if (!llm_.speculation.start(request_.tokens, request_.token_count, mode)) {
            return report(error, Status::out_of_memory, "llm", "no memory is left");
        }
        llm_.sampler.start(request_.sampling);
        llm_.text.start(request_.stop_strings, request_.stop_string_count);
        if (result_.stop == PENLIGHT_LLM_STOP_NONE) PENLIGHT_TRY(take(llm_.logits, error));
        while (result_.stop == PENLIGHT_LLM_STOP_NONE) PENLIGHT_TRY(advance(error));
        return Status::ok;
    }

  private:
    // One step: the last token, and after it a draft.
    Status advance(penlight_error* error) {
        Speculation& s = llm_.speculation;
        int32_t tokens[most_tokens];
        tokens[0] = s.tokens()[s.size() - 1];
        size_t count = 1 + s.draft(tokens + 1, room());
        double begin = now();
        const float* rows = nullptr;
        if (count == 1) {
            PENLIGHT_TRY(step(llm_, tokens, 1, error));
            rows = llm_.logits;
        } else {
            PENLIGHT_TRY(check(llm_, tokens, count, &rows, error));
        }
        s.measured(count, now() - begin);
        result_.drafted_tokens += count - 1;
        for (size_t i = 0; i < count && result_.stop == PENLIGHT_LLM_STOP_NONE; i++) {
            // The cache holds more when all of a draft was run, but not more that is known to be
            // right; whatever looks at it sees what it would without a draft.
            if (count > 1 && !llm_.cached.push(tokens[i])) {
                return report(error, Status::out_of_memory, "llm", "no memory is left");
            }
            PENLIGHT_TRY(take(rows + i * llm_.vocabulary_size, error));
            if (i + 1 == count || s.tokens()[s.size() - 1] != tokens[i + 1]) break;
            result_.accepted_tokens++;
        }
        return Status::ok;
    }

    // How long a draft may be.
    size_t room() const {
        if (!llm_.verify) return 0;
        size_t most = std::min<size_t>(llm_.verify_length, most_tokens) - 1;
        most = std::min(most, llm_.max_context - llm_.cached.size() - 1);
        if (!request_.max_new_tokens) return most;
        return std::min<size_t>(most, request_.max_new_tokens - result_.generated_tokens - 1);
    }

    // Draw the next token from its logits and deliver it.
    Status take(const float* logits, penlight_error* error) {
        Speculation& s = llm_.speculation;
        int32_t token = llm_.sampler.sample(logits, s.tokens(), s.size());
        if (token < 0) {
            return report(error, Status::execution_failed, "llm",
                          "expected logits that are numbers but every one is NaN; the weights or "
                          "the export are broken");
        }
        if (!s.push(token)) {
            return report(error, Status::out_of_memory, "llm", "no memory is left");
        }
        if (result_.generated_tokens++ == 0) {
            first_ = now();
            result_.first_token_seconds = first_ - begin_;
        }
        PENLIGHT_TRY(deliver(llm_, request_, token, logits, &result_, error));
        result_.decode_seconds = now() - first_;
        return Status::ok;
    }

    static constexpr size_t most_tokens = 64;  // of one step
    penlight_llm& llm_;
    const penlight_llm_request& request_;
    double begin_, first_ = 0;
    penlight_llm_result& result_;
};

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
    if (status == Status::ok) status = Decoder(*llm, *request, begin, result).run(error);
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
    size_t most = llm->verify ? llm->verify_length : 1, v = llm->vocabulary_size;
    for (size_t done = 0; done + 1 < count;) {
        size_t n = std::min(most, count - 1 - done);
        const float* rows = nullptr;
        status = n > 1 ? check(*llm, tokens + done, n, &rows, error)
                       : step(*llm, tokens + done, 1, error);
        if (status != Status::ok) return code(status);
        if (n > 1 && !llm->cached.append(tokens + done, n)) {
            return code(report(error, Status::out_of_memory, "llm", "no memory is left"));
        }
        if (n == 1) rows = llm->logits;
        for (size_t i = done; i < done + n; i++, rows += v) {
            log_probabilities[i] = log_probability(rows, v, tokens[i + 1]);
            if (top) top[i] = argmax(rows, v);
        }
        done += n;
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
    if (status == Status::ok) *logits = llm->logits;
    return code(status);
}
