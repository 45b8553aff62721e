// penlight::linear: y[..., n] = sum_k x[..., k] W[n, k] + bias[n] with W packed (packed.h).
#include <algorithm>

#include "packed.h"

#define PENLIGHT_TARGET_SOURCE "packed_linear.simd.h"
#include "simd/for_each_target.h"

namespace penlight::kernels {
namespace {

// Activations of so many bytes stay in the second-level cache while blocks of rows pass by.
constexpr int64_t chunk_bytes = 512 * 1024;

// Tokens that meet all rows before the next ones do: few enough for the cache and, where there are
// several threads, for work that can be dealt out evenly. A multiple of the tile.
int64_t chunk_tokens(const PackedProduct& p, int64_t tile, int64_t blocks, int64_t threads) {
    const int64_t token_bytes = p.format.quantized() ? quantized_token_bytes(p.format, p.inputs)
                                                     : p.inputs * int64_t{sizeof(float)};
    const int64_t tiles = (p.tokens + tile - 1) / tile;
    int64_t chunks = p.tokens * token_bytes / chunk_bytes + 1;
    if (threads > 1) chunks = std::max(chunks, 16 * threads / blocks);
    chunks = std::min(chunks, (tiles + 3) / 4);
    return (tiles + chunks - 1) / chunks * tile;
}

// The part of a product that is `count` tokens from `first` on, a multiple of the tile.
PackedProduct part_of(const PackedProduct& p, int64_t first, int64_t count) {
    PackedProduct part = p;
    part.x += first * p.inputs;
    part.out += first * p.rows;
    if (p.format.quantized()) part.quantized += first * quantized_token_bytes(p.format, p.inputs);
    part.tokens = std::min(count, p.tokens - first);
    return part;
}

void multiply(Context& ctx, const PackedCore& core, const PackedProduct& p) {
    const int64_t tile = core.tile[p.format.planes == 2];
    if (p.format.quantized())
        ctx.parallel_for((p.tokens + tile - 1) / tile, 4, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; i++) core.quantize(p, i);
        });
    const int64_t blocks = (p.rows + packed_rows - 1) / packed_rows;
    const int64_t chunk = chunk_tokens(p, tile, blocks, ctx.threads());
    const int64_t chunks = (p.tokens + chunk - 1) / chunk;
    ctx.parallel_for(chunks * blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++)
            core.block(part_of(p, i / blocks * chunk, chunk), i % blocks);
    });
}

Status packed_linear_out(Context& ctx, const Tensor& x, const Tensor& weight,
                         std::string_view format, int64_t out_features, const Tensor* bias,
                         Tensor& out) {
    if (x.rank < 1 || x.dtype != PENLIGHT_FLOAT || out.dtype != PENLIGHT_FLOAT || !x.contiguous())
        return ctx.fail(
            "expected a contiguous float32 input and result but got %s and %s; convert "
            "them first",
            dtype_name(x.dtype), dtype_name(out.dtype));
    const int32_t last = x.rank - 1;
    PackedProduct p{};
    p.inputs = x.size(last);
    p.rows = out_features;
    PENLIGHT_TRY(check_packed(ctx, weight, format, p.rows, p.inputs, &p.format));
    if (bias && (bias->dtype != PENLIGHT_FLOAT || bias->rank != 1 || bias->size(0) != p.rows ||
                 !bias->contiguous()))
        return ctx.fail("expected a float32 bias [%lld]; check its shape and dtype",
                        static_cast<long long>(p.rows));
    int64_t sizes[PENLIGHT_MAX_RANK];
    p.tokens = 1;
    for (int32_t d = 0; d < last; d++) p.tokens *= sizes[d] = x.size(d);
    sizes[last] = p.rows;
    PENLIGHT_TRY(resize(ctx, out, x.rank, sizes));
    if (!out.contiguous()) return ctx.fail("expected a contiguous result; export the model again");
    if (p.tokens == 0 || p.rows == 0) return Status::ok;
    p.weight = weight.ptr<uint8_t>();
    p.x = x.ptr<float>();
    p.bias = bias ? bias->ptr<float>() : nullptr;
    p.out = out.ptr<float>();
    p.quantized = ctx.scratch();
    const PackedCore& core = *PENLIGHT_SELECT(ctx.isa, packed_core);
    if (p.format.quantized()) {
        int64_t needed = p.tokens * quantized_token_bytes(p.format, p.inputs);
        if (static_cast<uint64_t>(needed) > ctx.scratch_size)
            return ctx.fail(
                "expected %lld bytes of scratch memory but got %zu; load the method "
                "again",
                static_cast<long long>(needed), ctx.scratch_size);
    }
    multiply(ctx, core, p);
    return Status::ok;
}

size_t packed_linear_scratch(uint32_t, const Tensor& x, const Tensor&, std::string_view format,
                             int64_t, const Tensor*, Tensor&) {
    PackedFormat f;
    if (x.rank < 1 || !parse_packed(format, &f) || !f.quantized()) return 0;
    const int64_t inputs = x.max_sizes[x.rank - 1];
    int64_t bytes;
    if (inputs > INT64_MAX / 16 ||
        __builtin_mul_overflow(f.groups(inputs), f.planes * f.group + 12, &bytes))
        return SIZE_MAX;
    for (int32_t d = 0; d + 1 < x.rank; d++)
        if (__builtin_mul_overflow(bytes, x.max_sizes[d], &bytes)) return SIZE_MAX;
    return static_cast<size_t>(bytes);
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(packed_linear_out, packed_linear_scratch)
