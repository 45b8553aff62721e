// Claims about penlight_llm.h: hostile programs and settings, damaged sessions, no memory, threads.
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "claims.h"
#include "penlight/penlight_llm.h"

namespace {

size_t reallocations_left = SIZE_MAX;  // before one fails
size_t allocations_left = SIZE_MAX;

void* allocate(void*, size_t size, size_t alignment) {
    if (allocations_left == 0 || --allocations_left == 0) return nullptr;
    size_t rounded = (size + alignment - 1) / alignment * alignment;
    return std::aligned_alloc(alignment < sizeof(void*) ? sizeof(void*) : alignment, rounded);
}
void release(void*, void* pointer, size_t) { std::free(pointer); }

struct Model {
    std::vector<char> data;
    penlight_runtime* runtime = nullptr;
    penlight_program* program = nullptr;
    penlight_llm* llm = nullptr;
    penlight_error error{};
    explicit Model(const char* name, uint32_t threads = 1) : data(read_program(name)) {
        static const penlight_allocator allocator{nullptr, allocate, release};
        penlight_runtime_options options{};
        options.threads = threads;
        options.allocator = &allocator;
        if (penlight_runtime_create(&options, &runtime, &error)) return;
        if (penlight_program_open_memory(runtime, data.data(), data.size(), &program, &error))
            return;
        if (penlight_llm_from_program(program, nullptr, &llm, &error)) EXPECT(!llm);
    }
    ~Model() {
        penlight_llm_close(llm);
        if (program) penlight_program_close(program);
        if (runtime) penlight_runtime_free(runtime);
    }
};

struct Request {
    const int32_t tokens[6] = {1, 3, 6, 4, 5, 7};
    const char* stops[1] = {"never this"};
    size_t bytes = 0;
    penlight_llm_request request{};
    penlight_llm_result result{};
    explicit Request(const Model& model, uint32_t count) {
        request.tokens = tokens;
        request.token_count = 6;
        request.sampling = penlight_llm_default_sampling(model.llm);
        request.max_new_tokens = count;
        request.ignore_eos = true;
        request.log_probabilities = true;
        request.user = this;
        request.on_token = [](void* user, int32_t, float, const char* text, size_t size) {
            for (size_t i = 0; i < size; i++) static_cast<Request*>(user)->bytes += text[i] != 0;
            return true;
        };
    }
    penlight_status run(Model& model) {
        return penlight_llm_generate(model.llm, &request, &result, &model.error);
    }
};

std::string temporary() { return "/tmp/penlight-llm-" + std::to_string(getpid()); }

void write(const std::string& path, const std::vector<char>& data, size_t size) {
    std::FILE* file = std::fopen(path.c_str(), "wb");
    EXPECT(file && std::fwrite(data.data(), 1, size, file) == size && std::fclose(file) == 0);
}

std::vector<char> read(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    EXPECT(file);
    std::vector<char> data(1 << 20);
    data.resize(std::fread(data.data(), 1, data.size(), file));
    std::fclose(file);
    return data;
}

// Everything a caller sees of an answer, in order.
struct Seen {
    std::vector<int32_t> tokens;
    std::vector<float> log_probabilities;
    std::string text;
    std::vector<size_t> cached;  // how many tokens the cache is said to hold, at each call
    size_t stop_after = SIZE_MAX;
    size_t cancel_after = SIZE_MAX;
    penlight_llm* llm = nullptr;
    penlight_llm_stop stop = PENLIGHT_LLM_STOP_NONE;
    size_t drafted = 0, accepted = 0;

    static bool take(void* user, int32_t token, float probability, const char* text, size_t size) {
        auto& seen = *static_cast<Seen*>(user);
        seen.tokens.push_back(token);
        seen.log_probabilities.push_back(probability);
        seen.text += std::string(text, size) + "|";
        size_t count = 0;
        penlight_llm_tokens(seen.llm, &count);
        seen.cached.push_back(count);
        if (seen.tokens.size() == seen.cancel_after) penlight_llm_cancel(seen.llm);
        return seen.tokens.size() < seen.stop_after;
    }
    bool operator==(const Seen& other) const {
        return tokens == other.tokens && log_probabilities == other.log_probabilities &&
               text == other.text && cached == other.cached && stop == other.stop;
    }
};

Seen see(Model& model, penlight_llm_speculation mode, Seen seen = {}, uint32_t count = 40) {
    Request request(model, count);
    seen.llm = model.llm;
    request.request.user = &seen;
    request.request.on_token = Seen::take;
    request.request.speculation = mode;
    request.request.sampling.frequency_penalty = -0.5f;  // it repeats itself
    request.request.sampling.temperature = 0.4f;
    penlight_llm_truncate(model.llm, 0);
    EXPECT(request.run(model) == PENLIGHT_OK);
    seen.stop = request.result.stop;
    seen.drafted = request.result.drafted_tokens;
    seen.accepted = request.result.accepted_tokens;
    return seen;
}

struct Hostile {
    const char* program;
    const char* message;  // a part of it
};

}  // namespace

extern "C" void* __real_realloc(void* pointer, size_t size);
extern "C" void* __wrap_realloc(void* pointer, size_t size) {
    if (reallocations_left != SIZE_MAX && (reallocations_left == 0 || --reallocations_left == 0))
        return nullptr;
    return __real_realloc(pointer, size);
}

CLAIM(the_toy_generates_text) {
    Model model("toy");
    EXPECT(model.llm);
    Request request(model, 20);
    EXPECT(request.run(model) == PENLIGHT_OK);
    EXPECT(request.result.generated_tokens == 20 && request.bytes > 20);
}

CLAIM(callbacks_see_the_same_with_and_without_drafts) {
    Model model("toy");
    Seen plain = see(model, PENLIGHT_LLM_SPECULATION_OFF);
    Seen drafted = see(model, PENLIGHT_LLM_SPECULATION_ALWAYS);
    EXPECT(plain == drafted && plain == see(model, PENLIGHT_LLM_SPECULATION_AUTO));
    EXPECT(plain.drafted == 0 && drafted.accepted > 15 && drafted.drafted >= drafted.accepted);
}

CLAIM(an_answer_is_stopped_within_a_draft) {
    Model model("toy");
    for (size_t n = 1; n < 40; n++)
        for (bool cancels : {false, true}) {
            Seen seen;
            (cancels ? seen.cancel_after : seen.stop_after) = n;
            Seen plain = see(model, PENLIGHT_LLM_SPECULATION_OFF, seen);
            EXPECT(plain == see(model, PENLIGHT_LLM_SPECULATION_ALWAYS, seen));
            EXPECT(plain.tokens.size() == n + cancels);
            EXPECT(plain.stop == (!cancels      ? PENLIGHT_LLM_STOP_CALLBACK
                                  : n + 1 == 40 ? PENLIGHT_LLM_STOP_LENGTH
                                                : PENLIGHT_LLM_STOP_CANCELLED));
        }
}

CLAIM(a_verify_that_is_none_is_not_used) {
    Model toy("toy");
    penlight_llm_info info;
    penlight_llm_get_info(toy.llm, &info);
    EXPECT(info.draft_length == 7);
    Seen expected = see(toy, PENLIGHT_LLM_SPECULATION_OFF);
    for (const char* name :
         {"alone", "verify_of_another_state", "verify_last_only", "verify_narrow"}) {
        Model model(name);
        EXPECT(model.llm);
        penlight_llm_get_info(model.llm, &info);
        EXPECT(info.draft_length == 0);
        Seen seen = see(model, PENLIGHT_LLM_SPECULATION_ALWAYS);
        EXPECT(seen == expected && seen.drafted == 0);
    }
    Model shrinking("verify_shrinking");
    Request request(shrinking, 40);
    request.request.speculation = PENLIGHT_LLM_SPECULATION_ALWAYS;
    request.request.sampling.frequency_penalty = -5;
    EXPECT(request.run(shrinking) == PENLIGHT_EXECUTION_FAILED);
    EXPECT(std::strstr(shrinking.error.message, "[verify] expected the logits of"));
}

CLAIM(speculation_is_one_of_three) {
    Model model("toy");
    for (uint32_t mode : {3u, 1u << 20, UINT32_MAX}) {
        Request request(model, 4);
        request.request.speculation = mode;
        EXPECT(request.run(model) == PENLIGHT_INVALID_ARGUMENT);
    }
}

CLAIM(hostile_programs_are_refused_when_opened) {
    const Hostile cases[] = {
        {"vocabulary_short", "cut short"},
        {"vocabulary_offsets", "offsets are cut short"},
        {"vocabulary_count", "offsets are cut short"},
        {"vocabulary_backwards", "backwards"},
        {"vocabulary_bytes", "bytes are cut short"},
        {"context_negative", "get_max_context_len"},
        {"context_giant", "get_max_context_len"},
        {"vocabulary_giant", "get_vocab_size"},
        {"bos_giant", "get_bos_id"},
        {"logits_flat", "logits float32"},
        {"logits_integers", "logits float32"},
        {"inputs_three", "number of inputs"},
    };
    for (const Hostile& hostile : cases) {
        Model model(hostile.program);
        if (model.llm || !std::strstr(model.error.message, hostile.message))
            broken(hostile.program, __LINE__, model.llm ? "a refusal" : model.error.message);
        EXPECT(model.error.status == PENLIGHT_INVALID_PROGRAM);
    }
}

CLAIM(what_only_running_shows_is_refused_then) {
    Model shrinking("logits_shrinking");  // as many logits as there are tokens
    EXPECT(shrinking.llm);
    Request few(shrinking, 4);
    EXPECT(few.run(shrinking) == PENLIGHT_EXECUTION_FAILED);
    EXPECT(std::strstr(shrinking.error.message, "expected logits of"));

    Model beyond("context_beyond");  // a context that is longer than the cache
    EXPECT(beyond.llm);
    Request many(beyond, 200);
    EXPECT(many.run(beyond) == PENLIGHT_EXECUTION_FAILED);
    EXPECT(many.result.generated_tokens > 50);
}

CLAIM(a_vocabulary_that_is_too_small_gives_no_text) {
    Model model("vocabulary_empty");
    EXPECT(model.llm);
    Request request(model, 20);
    EXPECT(request.run(model) == PENLIGHT_OK && request.bytes == 0);
}

CLAIM(every_changed_or_missing_byte_of_a_session_is_seen) {
    Model model("toy");
    Request request(model, 10);
    EXPECT(request.run(model) == PENLIGHT_OK);
    const std::string path = temporary();
    EXPECT(penlight_llm_save_session(model.llm, path.c_str(), &model.error) == PENLIGHT_OK);
    std::vector<char> session = read(path);
    penlight_llm_truncate(model.llm, 3);
    size_t count = 0;
    for (size_t i = 0; i < session.size(); i++) {
        for (char change : {1, -128, -1}) {
            session[i] = static_cast<char>(session[i] ^ change);
            write(path, session, session.size());
            EXPECT(penlight_llm_load_session(model.llm, path.c_str(), &model.error));
            session[i] = static_cast<char>(session[i] ^ change);
        }
        write(path, session, i);
        EXPECT(penlight_llm_load_session(model.llm, path.c_str(), &model.error));
        penlight_llm_tokens(model.llm, &count);
        EXPECT(count == 3);
    }
    write(path, session, session.size());
    EXPECT(penlight_llm_load_session(model.llm, path.c_str(), &model.error) == PENLIGHT_OK);
    penlight_llm_tokens(model.llm, &count);
    EXPECT(count == request.result.context_used);
    session.push_back(0);
    write(path, session, session.size());
    EXPECT(penlight_llm_load_session(model.llm, path.c_str(), &model.error));
    std::remove(path.c_str());
}

CLAIM(settings_that_are_no_numbers_are_refused) {
    Model model("toy");
    using Sampling = penlight_llm_sampling;
    const float bad[] = {NAN, INFINITY, -INFINITY, -1e30f, 1e30f};
    float Sampling::* const fields[] = {&Sampling::temperature,
                                        &Sampling::top_p,
                                        &Sampling::min_p,
                                        &Sampling::typical_p,
                                        &Sampling::repetition_penalty,
                                        &Sampling::frequency_penalty,
                                        &Sampling::presence_penalty};
    for (auto field : fields)
        for (float value : bad) {
            Request request(model, 4);
            request.request.sampling.*field = value;
            EXPECT(request.run(model) == PENLIGHT_INVALID_ARGUMENT);
        }
    Request extreme(model, 20);  // allowed, however odd
    extreme.request.sampling.temperature = std::numeric_limits<float>::denorm_min();
    extreme.request.sampling.top_p = std::numeric_limits<float>::min();
    extreme.request.sampling.typical_p = std::numeric_limits<float>::min();
    extreme.request.sampling.top_k = UINT32_MAX;
    extreme.request.sampling.penalty_window = UINT32_MAX;
    extreme.request.sampling.presence_penalty = 100;
    EXPECT(extreme.run(model) == PENLIGHT_OK);
}

CLAIM(tokens_outside_the_vocabulary_are_refused) {
    Model model("toy");
    for (int32_t token : {-1, INT32_MIN, 32, INT32_MAX}) {
        const char* bytes;
        size_t size;
        const float* logits;
        EXPECT(penlight_llm_token_bytes(model.llm, token, &bytes, &size, &model.error));
        EXPECT(penlight_llm_forward(model.llm, &token, 1, &logits, &model.error));
    }
}

// Whatever allocation fails, the call says so, and nothing leaks.
static void fail_each(size_t& left) {
    for (size_t n = 1;; n++) {
        left = n;
        bool done = false;
        {
            Model model("toy");
            penlight_status status = model.error.status;
            if (model.llm) {
                Request request(model, 12);
                request.request.sampling.temperature = 1;
                request.request.sampling.presence_penalty = -1;
                request.request.speculation = PENLIGHT_LLM_SPECULATION_ALWAYS;
                request.request.stop_strings = request.stops;
                request.request.stop_string_count = 1;
                status = request.run(model);
            }
            EXPECT(status == PENLIGHT_OK || status == PENLIGHT_OUT_OF_MEMORY);
            done = status == PENLIGHT_OK;
        }
        left = SIZE_MAX;
        if (done) {
            EXPECT(n > 5);
            return;
        }
    }
}
CLAIM(a_failing_allocation_is_reported) { fail_each(allocations_left); }
CLAIM(a_failing_reallocation_is_reported) { fail_each(reallocations_left); }

CLAIM(another_thread_cancels) {
    Model model("toy", 2);
    for (int round = 0; round < 20; round++) {
        Request request(model, 0);
        request.request.max_new_tokens = 0;
        request.request.sampling.frequency_penalty = -5;
        request.request.speculation = PENLIGHT_LLM_SPECULATION_ALWAYS;
        std::atomic<bool> over{false};
        std::thread canceller([&] {
            while (!over) penlight_llm_cancel(model.llm);
        });
        EXPECT(request.run(model) == PENLIGHT_OK);
        over = true;
        canceller.join();
        EXPECT(request.result.stop == PENLIGHT_LLM_STOP_CANCELLED ||
               request.result.stop == PENLIGHT_LLM_STOP_CONTEXT);
    }
}
