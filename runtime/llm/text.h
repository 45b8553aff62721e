// From token bytes to text that may be shown: whole UTF-8 characters, no part of a stop string.
#pragma once

#include <cstddef>

#include "buffer.h"

namespace penlight::llm {

class TextStream {
  public:
    // The stop strings are borrowed for as long as the stream is used.
    void start(const char* const* stop_strings, size_t count);
    // Take the bytes of one more token. False when there is no memory.
    [[nodiscard]] bool append(const char* bytes, size_t size);
    // After append: whether a stop string is complete. What came before it is in ready().
    bool stopped() const { return stopped_; }
    // Nothing more will come: everything held back becomes ready.
    [[nodiscard]] bool finish();
    // Text that became ready with the last call of append or finish.
    const char* ready() const { return ready_.data() ? ready_.data() : ""; }
    size_t ready_size() const { return ready_.size(); }

  private:
    size_t stop_begin() const;
    size_t possible_stop() const;
    [[nodiscard]] bool release(size_t size, bool final);

    const char* const* stops_ = nullptr;
    size_t stop_count_ = 0;
    bool stopped_ = false;
    Buffer<char> held_;
    Buffer<char> ready_;
};

// The length of the well-formed UTF-8 character at text (1 to 4), 0 if it is malformed, or -1 if
// it is cut short by the end (Unicode 15, table 3-7).
int character(const char* text, size_t size);

}  // namespace penlight::llm
