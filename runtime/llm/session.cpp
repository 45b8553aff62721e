// A conversation on disk: the tokens of the cache and the part of the state that they filled.
//
//   header        magic "PENLSESS", uint32 version, uint32 token count, uint64 model, uint32 states
//   tokens        int32 [token count]
//   each state    uint64 size, then its bytes
//   checksum      uint64 over all before it
//
// All little-endian. `model` is a fingerprint of the program's model card, vocabulary and state
// shapes. A file is checked to its last byte before anything of it is used.
#include <cstdio>

#include "model.h"

#ifdef _WIN32
#include <io.h>
#include <process.h>
#define PENLIGHT_PROCESS_ID _getpid()
#else
#include <unistd.h>
#define PENLIGHT_PROCESS_ID getpid()
#endif

namespace penlight::llm {

namespace {

constexpr char magic[8] = {'P', 'E', 'N', 'L', 'S', 'E', 'S', 'S'};
constexpr uint32_t version = 1;

struct Header {
    char magic[8];
    uint32_t version;
    uint32_t token_count;
    uint64_t model;
    uint32_t state_count;
    uint32_t reserved;
};
static_assert(sizeof(Header) == 32);

// FNV-1a over 64-bit words (Fowler, Noll, Vo), the last one padded with zeros: finds damage, is no
// protection against forgery, which the size checks are.
class Checksum {
  public:
    void add(const void* data, size_t size) {
        const char* bytes = static_cast<const char*>(data);
        for (size_t i = 0; i < size; i += 8) {
            uint64_t word = 0;
            std::memcpy(&word, bytes + i, size - i < 8 ? size - i : 8);
            value_ = (value_ ^ word) * 0x100000001b3u;
            value_ ^= value_ >> 29;  // high bits back down: words differ anywhere
        }
    }
    uint64_t value() const { return value_; }

  private:
    uint64_t value_ = 0xcbf29ce484222325u;
};

class File {
  public:
    File(const char* path, const char* mode) : file_(std::fopen(path, mode)) {}
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() {
        if (file_) std::fclose(file_);
    }
    explicit operator bool() const { return file_; }
    bool read(void* data, size_t size) {
        bool fine = size == 0 || std::fread(data, 1, size, file_) == size;
        if (fine) sum_.add(data, size);
        return fine;
    }
    bool write(const void* data, size_t size) {
        sum_.add(data, size);
        return size == 0 || std::fwrite(data, 1, size, file_) == size;
    }
    uint64_t checksum() const { return sum_.value(); }
    bool at_end() { return std::fgetc(file_) == EOF; }
    void rewind() {
        std::rewind(file_);
        sum_ = {};
    }
    bool close() {
        bool fine = std::fflush(file_) == 0;
#ifndef _WIN32
        fine = fine && ::fsync(fileno(file_)) == 0;
#endif
        fine = std::fclose(file_) == 0 && fine;
        file_ = nullptr;
        return fine;
    }

  private:
    std::FILE* file_;
    Checksum sum_;
};

// One state tensor: `blocks` pieces of it that begin `stride` bytes apart, each filled to `size`.
struct State {
    char* data;
    size_t blocks, stride, size;
};

Status state(const penlight_llm& llm, size_t index, size_t tokens, State* out,
             penlight_error* error) {
    penlight_tensor* t = nullptr;
    auto status = penlight_method_state(llm.forward, index, &t, error);
    if (status != PENLIGHT_OK) return static_cast<Status>(status);
    const auto& tensor = *static_cast<const Tensor*>(t);
    size_t size = static_cast<size_t>(tensor.numel()) * item_size(tensor.dtype);
    *out = {static_cast<char*>(tensor.data), 1, size, size};
    // A cache [1, heads, positions, width] is filled from the front of each head; anything else is
    // kept whole.
    if (tensor.rank == 4 && tensor.size(0) == 1 && tensor.size(1) > 0 &&
        tensor.size(2) == llm.program_context && tensor.contiguous()) {
        out->blocks = static_cast<size_t>(tensor.size(1));
        out->stride = size / out->blocks;
        out->size = out->stride / llm.program_context * tokens;
    }
    return Status::ok;
}

uint64_t fingerprint(const penlight_llm& llm) {
    Checksum sum;
    for (const char* key : {"penlight.model", "penlight.vocabulary"}) {
        const void* data = nullptr;
        size_t size = 0;
        if (penlight_program_named_data(llm.program, key, &data, &size, nullptr)) continue;
        sum.add(data, size);
    }
    for (size_t i = 0; i < penlight_method_state_count(llm.forward); i++) {
        penlight_tensor* t = nullptr;
        if (penlight_method_state(llm.forward, i, &t, nullptr) != PENLIGHT_OK) continue;
        sum.add(&t->dtype, sizeof t->dtype);
        sum.add(t->sizes, sizeof(int64_t) * static_cast<size_t>(t->rank));
    }
    return sum.value();
}

Header make_header(const penlight_llm& llm) {
    Header h{};
    std::memcpy(h.magic, magic, sizeof magic);
    h.version = version;
    h.token_count = static_cast<uint32_t>(llm.cached.size());
    h.model = fingerprint(llm);
    h.state_count = static_cast<uint32_t>(penlight_method_state_count(llm.forward));
    return h;
}

bool write_session(const penlight_llm& llm, File& file) {
    Header h = make_header(llm);
    bool fine =
        file.write(&h, sizeof h) && file.write(llm.cached.data(), h.token_count * sizeof(int32_t));
    for (uint32_t i = 0; i < h.state_count && fine; i++) {
        State s;
        fine = state(llm, i, h.token_count, &s, nullptr) == Status::ok;
        uint64_t size = fine ? s.blocks * s.size : 0;
        fine = fine && file.write(&size, sizeof size);
        for (size_t b = 0; fine && b < s.blocks; b++)
            fine = file.write(s.data + b * s.stride, s.size);
    }
    uint64_t sum = file.checksum();
    return fine && file.write(&sum, sizeof sum) && file.close();
}

// Read a session once more, or for the first time: to check it (tokens only), or to take it.
Status read_session(penlight_llm& llm, File& file, bool take, Buffer<int32_t>* tokens,
                    const char* path, penlight_error* error) {
    auto bad = [&](const char* expected, const char* got) {
        return report(error, Status::invalid_argument, path,
                      "expected a session %s but %s; nothing was changed", expected, got);
    };
    Header h, own = make_header(llm);
    if (!file.read(&h, sizeof h) || std::memcmp(h.magic, magic, sizeof magic) != 0) {
        return bad("file", "this is something else");
    }
    if (h.version != version) return bad("of version 1", "it is of another version");
    if (h.model != own.model || h.state_count != own.state_count) {
        return bad("of this model", "it belongs to another");
    }
    if (h.token_count > llm.max_context) return bad("that fits the context", "it is longer");
    if (!tokens->resize(h.token_count)) {
        return report(error, Status::out_of_memory, path, "no memory is left");
    }
    if (!file.read(tokens->data(), h.token_count * sizeof(int32_t))) {
        return bad("file", "it is cut short");
    }
    Buffer<char> block;
    for (uint32_t i = 0; i < h.state_count; i++) {
        State s;
        PENLIGHT_TRY(state(llm, i, h.token_count, &s, error));
        uint64_t size;
        if (!file.read(&size, sizeof size) || size != s.blocks * s.size) {
            return bad("of this model's state", "its sizes differ");
        }
        if (!take && !block.resize(s.size)) {
            return report(error, Status::out_of_memory, path, "no memory is left");
        }
        for (size_t b = 0; b < s.blocks; b++) {
            if (!file.read(take ? s.data + b * s.stride : block.data(), s.size))
                return bad("file", "it is cut short");
        }
    }
    uint64_t sum = file.checksum(), written;
    if (!file.read(&written, sizeof written) || written != sum || !file.at_end()) {
        return bad("file", "it is damaged");
    }
    if (h.token_count) PENLIGHT_TRY(check_tokens(llm, tokens->data(), h.token_count, error));
    return Status::ok;
}

}  // namespace

}  // namespace penlight::llm

using namespace penlight;
using namespace penlight::llm;

penlight_status penlight_llm_save_session(const penlight_llm* llm, const char* path,
                                          penlight_error* error) {
    if (!llm || !path) {
        return code(report(error, Status::invalid_argument, "penlight_llm_save_session",
                           "expected a model and a path but one is NULL"));
    }
    char temporary[4096];
    int used = std::snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path,
                             static_cast<long>(PENLIGHT_PROCESS_ID));
    if (used < 0 || static_cast<size_t>(used) >= sizeof temporary) {
        return code(report(error, Status::invalid_argument, "penlight_llm_save_session",
                           "expected a path below 4,000 bytes; choose a shorter one"));
    }
    bool fine;
    {
        File file(temporary, "wb");
        fine = file && write_session(*llm, file);
    }
    if (fine) fine = std::rename(temporary, path) == 0;
    if (fine) return PENLIGHT_OK;
    std::remove(temporary);
    return code(report(error, Status::io, path,
                       "expected to write a session but could not; check the folder, its "
                       "permissions and the free space"));
}

penlight_status penlight_llm_load_session(penlight_llm* llm, const char* path,
                                          penlight_error* error) {
    if (!llm || !path) {
        return code(report(error, Status::invalid_argument, "penlight_llm_load_session",
                           "expected a model and a path but one is NULL"));
    }
    File file(path, "rb");
    if (!file) {
        return code(report(error, Status::not_found, path,
                           "expected a session file but it cannot be opened; check the path"));
    }
    Buffer<int32_t> tokens;
    Status status = read_session(*llm, file, false, &tokens, path, error);
    if (status != Status::ok) return code(status);
    // Checked to the end: now into the state itself. Should the file change meanwhile, the cache
    // is empty rather than wrong.
    llm->cached.shrink(0);
    file.rewind();
    status = read_session(*llm, file, true, &tokens, path, error);
    if (status == Status::ok && !llm->cached.append(tokens.data(), tokens.size())) {
        status = report(error, Status::out_of_memory, path, "no memory is left");
    }
    return code(status);
}
