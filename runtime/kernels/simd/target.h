#pragma once
#include <cstdint>
namespace penlight { enum class Isa : uint8_t { scalar }; }
