// y[i] = act(gate[i]) * up[i], for other kernels. y may be gate or up.
#pragma once

#include <string_view>

#include "kernel.h"

namespace penlight::kernels {

using Gated = void (*)(const float* gate, const float* up, int64_t count, float* y);
// activation: "silu" or "gelu" (its tanh form); null for any other.
Gated gated_of_name(Isa isa, std::string_view activation);

}  // namespace penlight::kernels
