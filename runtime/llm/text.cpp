#include "text.h"

#include <algorithm>
#include <cstring>

namespace penlight::llm {

int character(const char* text, size_t size) {
    auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
    unsigned char first = byte(0);
    if (first < 0x80) return 1;
    int length = first >= 0xc2 && first <= 0xdf   ? 2
                 : first >= 0xe0 && first <= 0xef ? 3
                 : first >= 0xf0 && first <= 0xf4 ? 4
                                                  : 0;
    if (length == 0) return 0;
    // The second byte's range excludes overlong forms, surrogates and what is above U+10FFFF.
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    for (int i = 1; i < length; i++) {
        if (static_cast<size_t>(i) >= size) return -1;
        if (byte(static_cast<size_t>(i)) < low || byte(static_cast<size_t>(i)) > high) return 0;
        low = 0x80, high = 0xbf;
    }
    return length;
}

void TextStream::start(const char* const* stop_strings, size_t count) {
    stops_ = stop_strings;
    stop_count_ = count;
    stopped_ = false;
    held_.shrink(0);
    ready_.shrink(0);
}

bool TextStream::append(const char* bytes, size_t size) {
    ready_.shrink(0);
    if (!held_.append(bytes, size)) return false;
    size_t begin = stop_begin();
    if (begin < held_.size()) {
        stopped_ = true;
        return release(begin, true);
    }
    return release(held_.size() - possible_stop(), false);
}

bool TextStream::finish() {
    ready_.shrink(0);
    return stopped_ || release(held_.size(), true);
}

// Where the earliest stop string begins, or the end.
size_t TextStream::stop_begin() const {
    const char* begin = held_.data();
    const char* end = begin + held_.size();
    const char* earliest = end;
    for (size_t i = 0; i < stop_count_; i++) {
        const char* stop = stops_[i];
        size_t length = std::strlen(stop);
        if (length) earliest = std::min(earliest, std::search(begin, end, stop, stop + length));
    }
    return static_cast<size_t>(earliest - begin);
}

// How many of the last bytes could be the beginning of a stop string.
size_t TextStream::possible_stop() const {
    size_t longest = 0;
    for (size_t i = 0; i < stop_count_; i++) {
        size_t length = std::strlen(stops_[i]);
        size_t most = length ? std::min(length - 1, held_.size()) : 0;
        for (size_t n = most; n > longest; n--) {
            if (std::memcmp(held_.data() + held_.size() - n, stops_[i], n) == 0) longest = n;
        }
    }
    return longest;
}

// Move the first `size` held bytes to ready; malformed ones become U+FFFD. A character that is cut
// short stays, unless this is final.
bool TextStream::release(size_t size, bool final) {
    size_t at = 0;
    while (at < size) {
        // A character may reach into bytes that are held for a stop string: then it waits too.
        int length = character(held_.data() + at, size - at);
        if (length < 0 && !final) break;
        bool fine = length > 0 ? ready_.append(held_.data() + at, static_cast<size_t>(length))
                               : ready_.append("\xef\xbf\xbd", 3);
        if (!fine) return false;
        // A truncated character at the very end is one U+FFFD, not one for each of its bytes.
        at = length < 0 ? size : at + static_cast<size_t>(length > 0 ? length : 1);
    }
    held_.erase_front(at);
    return true;
}

}  // namespace penlight::llm
