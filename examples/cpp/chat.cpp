// Talks to a language model:  chat MODEL.pte
//
// Over penlight_llm.h alone. See `usage` for what it can and cannot do with text.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "penlight/penlight_llm.h"

namespace {

constexpr const char* usage =
    "usage: chat MODEL.pte [--threads N] [--length N] [--temperature T] [--tokens \"1 2 3\"]\n"
    "\n"
    "Reads lines, and lets the model continue what was said so far after each. With --tokens it\n"
    "continues those token ids, once. Ctrl-C stops an answer. Times go to standard error.\n"
    "\n"
    "Text becomes tokens by the longest match in the model's vocabulary: close to its own "
    "tokenizer,\n"
    "not equal to it. There is no chat template, so models continue the text rather than answer "
    "it.\n"
    "`penlight chat MODEL.pte` does both as the model was trained.\n";

using Clock = std::chrono::steady_clock;
template <class T> using Handle = std::unique_ptr<T, void (*)(T*)>;

struct Options {
    const char* model = nullptr;
    const char* tokens = nullptr;
    penlight_runtime_options runtime{};
    uint32_t length = 256;
    float temperature = -1;  // below 0: the model's own
};

bool read_options(int count, char** arguments, Options* options) {
    for (int i = 1; i < count; i++) {
        std::string_view name = arguments[i];
        if (name.substr(0, 2) != "--") {
            if (options->model) return false;
            options->model = arguments[i];
            continue;
        }
        if (++i == count) return false;
        const char* value = arguments[i];
        char* end = nullptr;
        if (name == "--tokens") {
            options->tokens = value;
        } else if (name == "--temperature") {
            options->temperature = std::strtof(value, &end);
        } else if (name == "--threads") {
            options->runtime.threads = static_cast<uint32_t>(std::strtoul(value, &end, 10));
        } else if (name == "--length") {
            options->length = static_cast<uint32_t>(std::strtoul(value, &end, 10));
        } else {
            return false;
        }
        if (end && (*end || end == value)) return false;
    }
    return options->model != nullptr;
}

// The model's vocabulary, the other way round.
class Vocabulary {
  public:
    Vocabulary(const penlight_llm* llm, uint32_t size) {
        for (uint32_t id = 0; id < size; id++) {
            const char* bytes = nullptr;
            size_t length = 0;
            auto token = static_cast<int32_t>(id);
            if (penlight_llm_token_bytes(llm, token, &bytes, &length, nullptr)) return;
            if (length > 0) ids_.emplace(std::string_view(bytes, length), token);
            if (length > longest_) longest_ = length;
        }
    }
    // Appends the tokens of a text; false if some of it is no token.
    bool split(std::string_view text, std::vector<int32_t>* tokens) const {
        while (!text.empty()) {
            size_t length = text.size() < longest_ ? text.size() : longest_;
            auto found = ids_.end();
            for (; length > 0 && found == ids_.end(); length--)
                found = ids_.find(text.substr(0, length));
            if (found == ids_.end()) return false;
            tokens->push_back(found->second);
            text.remove_prefix(found->first.size());
        }
        return true;
    }

  private:
    std::unordered_map<std::string_view, int32_t> ids_;  // of bytes in the mapped file
    size_t longest_ = 0;
};

penlight_llm* running = nullptr;  // what Ctrl-C stops

void interrupt(int) { penlight_llm_cancel(running); }

bool show(void* made, int32_t token, float, const char* text, size_t size) {
    static_cast<std::vector<int32_t>*>(made)->push_back(token);
    std::fwrite(text, 1, size, stdout);
    std::fflush(stdout);
    return true;
}

// Continues the conversation and appends what the model says to it.
bool answer(penlight_llm* llm, const Options& options, std::vector<int32_t>* conversation) {
    std::vector<int32_t> made;
    penlight_llm_request request{};
    request.tokens = conversation->data();
    request.token_count = conversation->size();
    request.sampling = penlight_llm_default_sampling(llm);
    if (options.temperature >= 0) request.sampling.temperature = options.temperature;
    request.max_new_tokens = options.length;
    request.on_token = show;
    request.user = &made;
    penlight_llm_result result{};
    penlight_error error;
    if (penlight_llm_generate(llm, &request, &result, &error)) {
        std::fprintf(stderr, "%s\n", error.message);
        return false;
    }
    std::printf("\n");
    std::fflush(stdout);
    auto speed = [](size_t tokens, double seconds) {
        return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
    };
    size_t read = result.prompt_tokens - result.reused_tokens;
    std::fprintf(stderr,
                 "first token after %.1f ms; %zu tokens read, %.1f/s; %zu written, %.1f/s\n",
                 result.first_token_seconds * 1e3, read, speed(read, result.prefill_seconds),
                 result.generated_tokens,
                 speed(result.generated_tokens > 0 ? result.generated_tokens - 1 : 0,
                       result.decode_seconds));
    conversation->insert(conversation->end(), made.begin(), made.end());
    return true;
}

std::vector<int32_t> numbers(const char* text) {
    std::vector<int32_t> found;
    for (char* end = nullptr;; text = end) {
        long value = std::strtol(text, &end, 10);
        if (end == text) return found;
        found.push_back(static_cast<int32_t>(value));
    }
}

bool read_line(std::string* line) {
    line->clear();
    for (int c; (c = std::getchar()) != EOF;) {
        if (c == '\n') return true;
        line->push_back(static_cast<char>(c));
    }
    return !line->empty();
}

int talk(penlight_llm* llm, const Options& options, const penlight_llm_info& info) {
    std::vector<int32_t> conversation;
    if (options.tokens) {
        conversation = numbers(options.tokens);
        return answer(llm, options, &conversation) ? 0 : 1;
    }
    if (info.bos_id >= 0) conversation.push_back(info.bos_id);
    std::unique_ptr<Vocabulary> vocabulary;  // made when the first line is there
    for (std::string line; read_line(&line);) {
        if (!vocabulary) vocabulary = std::make_unique<Vocabulary>(llm, info.vocabulary_size);
        if (!vocabulary->split(line, &conversation)) {
            std::fprintf(stderr,
                         "expected text that the vocabulary spells but got other; give "
                         "--tokens\n");
            return 1;
        }
        if (!answer(llm, options, &conversation)) return 1;
    }
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    auto begin = Clock::now();
    Options options;
    if (!read_options(count, arguments, &options)) {
        std::fputs(usage, stderr);
        return 2;
    }
    penlight_error error;
    penlight_runtime* made = nullptr;
    penlight_llm* opened = nullptr;
    if (penlight_runtime_create(&options.runtime, &made, &error)) {
        std::fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    Handle<penlight_runtime> runtime(made, penlight_runtime_free);
    if (penlight_llm_open(made, options.model, nullptr, &opened, &error)) {
        std::fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    Handle<penlight_llm> llm(opened, penlight_llm_close);
    penlight_llm_info info{};
    penlight_llm_get_info(opened, &info);
    std::fprintf(stderr, "ready after %.1f ms; up to %u tokens, %u threads\n",
                 std::chrono::duration<double, std::milli>(Clock::now() - begin).count(),
                 info.max_context, penlight_runtime_threads(made));
    running = opened;
    std::signal(SIGINT, interrupt);
    int status = talk(opened, options, info);
    std::signal(SIGINT, SIG_DFL);
    return status;
}
