// What products with packed weights ask the memory for before they need it.

// So many bytes ahead weights are asked for, where that helps: the processor's own prefetcher stops
// at the end of each page, and arithmetic leaves it few reads to follow.
constexpr int64_t packed_ahead = 8192;
template <int64_t Bytes> PENLIGHT_INLINE void ask_ahead(const uint8_t* weights) {
#pragma GCC unroll 17
    for (int64_t i = 0; i < Bytes; i += 64) __builtin_prefetch(weights + packed_ahead + i, 0, 3);
}

// Where it does not help, one token's weights of q4g32c are asked for so many bytes ahead into the
// second cache, a line with each that is read. Other formats gained nothing by it.
constexpr int64_t packed_follow = 1024;

// There, too, the second tile of a block, which finds its weights in a cache and waits for
// arithmetic alone, asks for those of the next block. `quants`: where its own begin.
PENLIGHT_INLINE const uint8_t* asked_by(const PackedProduct& p, int64_t row, const std::byte* tile,
                                        const uint8_t* quants) {
    const bool second = row == 0 && !p.prefetch && tile == tile_data(p, 1);
    return second ? quants + p.format.block_bytes(p.inputs) : nullptr;
}
PENLIGHT_INLINE const uint8_t* ask_for(const uint8_t* weights, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(weights + i, 0, 2);
    return weights + bytes;
}

// Ask for the memory of a tile's results, which lie far apart.
void prefetch_results(const PackedProduct& p, int64_t token, int64_t tokens, int64_t first,
                      int64_t rows) {
    for (int64_t t = token; t < token + tokens; t++)
        for (int64_t i = 0; i < rows; i += 16) {
            __builtin_prefetch(p.out + t * p.rows + first + i, 1);
            if (p.residual) __builtin_prefetch(p.residual + t * p.rows + first + i);
        }
}
