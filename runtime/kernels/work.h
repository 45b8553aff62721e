// What a call of an operator must do at the least: bytes to move and numbers to multiply.
//
//   uint64_t bytes[work_arguments] = {...};      // of each argument, taken whole
//   Work work{args, count, bytes, 0};
//   if (WorkRule rule = work_rule("penlight::attention.out")) rule(work);
//
// Rules know an operator by its name alone, and kernels of the caller may bear any name: so a rule
// leaves everything as it is when the arguments are not those it expects.
#pragma once

#include "kernel.h"

namespace penlight {

inline constexpr uint32_t work_arguments = 24;  // more are not looked at

struct Work {
    Value* const* args;
    uint32_t count;
    uint64_t* bytes;  // [count]: a rule corrects those of which a call moves a part
    uint64_t multiply_adds;
};
using WorkRule = void (*)(Work& work);

// Null when every argument is moved whole and nothing is multiplied that counts.
WorkRule work_rule(std::string_view name);
uint64_t tensor_bytes(const Tensor& tensor);

}  // namespace penlight
