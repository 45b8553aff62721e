// One way to say what went wrong: "[where] expected X but got Y; next thing to do".
//
//   return report(error, Status::invalid_program, "value 3",
//                 "expected a rank of at most %d but got %zu; export the model again", 16, rank);
#pragma once

#include <cstddef>
#include <string_view>

#include "kernel.h"

namespace penlight {

// Write "[where] message" to `error`, unless it is null, and return `status`. Text that does not
// fit ends in "...".
[[gnu::format(printf, 4, 5)]] Status report(penlight_error* error, Status status, const char* where,
                                            const char* format, ...);

// Text from a file made fit to print: bytes that are not printable ASCII become \xNN, and what
// does not fit is cut.
class Printable {
  public:
    explicit Printable(std::string_view text);
    const char* text() const { return text_; }

  private:
    char text_[112];
};

}  // namespace penlight
