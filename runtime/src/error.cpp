#include "error.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace penlight {

namespace {

void write_message(penlight_error* error, Status status, const char* where, const char* format,
                   va_list arguments) {
    constexpr size_t room = sizeof error->message;
    char text[room];
    // Into a buffer of its own first: an argument may be the previous message.
    int used = std::snprintf(text, room, "[%s] ", where);
    size_t begin = used < 0 ? 0 : static_cast<size_t>(used);
    if (begin < room) {
        int more = std::vsnprintf(text + begin, room - begin, format, arguments);
        if (more >= 0 && begin + static_cast<size_t>(more) >= room) begin = room;
    }
    if (begin >= room) std::memcpy(text + room - 4, "...", 4);
    error->status = static_cast<penlight_status>(status);
    std::memcpy(error->message, text, room);
}

}  // namespace

Status report(penlight_error* error, Status status, const char* where, const char* format, ...) {
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        write_message(error, status, where, format, arguments);
        va_end(arguments);
    }
    return status;
}

Printable::Printable(std::string_view text) {
    constexpr char digits[] = "0123456789abcdef";
    constexpr size_t room = sizeof text_ - 8;  // of the longest escape, "..." and the terminator
    size_t used = 0;
    for (char c : text) {
        if (used >= room) {
            std::memcpy(text_ + used, "...", 3);
            used += 3;
            break;
        }
        auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f) {
            text_[used++] = c;
            continue;
        }
        text_[used++] = '\\';
        text_[used++] = 'x';
        text_[used++] = digits[byte >> 4];
        text_[used++] = digits[byte & 15];
    }
    text_[used] = 0;
}

}  // namespace penlight

penlight::Status penlight_context::fail(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    penlight::write_message(error, penlight::Status::execution_failed, where, format, arguments);
    va_end(arguments);
    return penlight::Status::execution_failed;
}

penlight_status penlight_fail(penlight_context* context, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    penlight::write_message(context->error, penlight::Status::execution_failed, context->where,
                            format, arguments);
    va_end(arguments);
    return PENLIGHT_EXECUTION_FAILED;
}
