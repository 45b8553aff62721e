#include "linear.h"

#include <algorithm>

#include "rms_norm.h"
#include "slots.h"

namespace penlight::kernels {
namespace {

constexpr int64_t strip_tokens = 256;  // blocks * tokens of a strip, if tokens are fewer
// Activations of so many bytes stay in the second-level cache while blocks of rows pass by.
constexpr int64_t chunk_bytes = 512 * 1024;

size_t aligned(size_t bytes) { return bytes > SIZE_MAX - 63 ? SIZE_MAX : (bytes + 63) & ~63ull; }

bool is_vector(const Tensor& t, int64_t size) {
    return t.dtype == PENLIGHT_FLOAT && t.rank == 1 && t.size(0) == size && t.contiguous();
}

// Floats of the strips of one thread.
int64_t strip_floats(int64_t tokens, int count) {
    return std::max(tokens, strip_tokens) * packed_rows * count;
}

int64_t packed_blocks(const PackedProduct& p) { return (p.rows + packed_rows - 1) / packed_rows; }

// Tokens that meet all rows before the next ones do: few enough for the cache and, where there are
// several threads, for work that can be dealt out evenly. A multiple of the tile.
int64_t chunk_tokens(const LinearInput& in, int64_t blocks, int64_t threads) {
    const PackedProduct& p = in.shared;
    const int64_t tile = in.core->tile[p.format.kind()];
    const int64_t token_bytes = p.format.quantized() ? quantized_token_bytes(p.format, p.inputs)
                                                     : p.inputs * int64_t{sizeof(float)};
    const int64_t tiles = (p.tokens + tile - 1) / tile;
    int64_t chunks = in.expanded ? 1 : p.tokens * token_bytes / chunk_bytes + 1;
    if (threads > 1) chunks = std::max(chunks, 16 * threads / blocks);
    chunks = std::min(chunks, in.expanded ? p.tokens / expand_tokens : (tiles + 3) / 4);
    return (tiles + chunks - 1) / chunks * tile;
}

// The part of a product that is `count` tokens from `first` on, a multiple of the tile.
PackedProduct tokens_of(const PackedProduct& p, int64_t first, int64_t count) {
    PackedProduct part = p;
    part.x += first * p.inputs;
    part.out += first * p.rows;
    if (p.residual) part.residual += first * p.rows;
    if (p.format.quantized()) part.quantized += first * quantized_token_bytes(p.format, p.inputs);
    part.tokens = std::min(count, p.tokens - first);
    return part;
}

int64_t token_count(const Tensor& x) {
    int64_t tokens = 1;
    for (int32_t d = 0; d + 1 < x.rank; d++) tokens *= x.size(d);
    return tokens;
}

// Tokens at the upper bounds of the sizes, or -1 on overflow.
int64_t most_tokens(const Tensor& x) {
    int64_t tokens = 1;
    for (int32_t d = 0; d + 1 < x.rank; d++)
        if (__builtin_mul_overflow(tokens, x.max_sizes[d], &tokens)) return -1;
    return tokens;
}

// Ask for the beginning of a block: the processor's own prefetcher has to find each stream anew.
void prefetch_block(const PackedProduct& p, int64_t block) {
    const int64_t bytes = p.format.block_bytes(p.inputs);
    const uint8_t* from = p.weight + block * bytes;
    for (int64_t i = 0; i < std::min<int64_t>(bytes, 4096); i += 64)
        __builtin_prefetch(from + i, 0, 2);
}

struct StripPlace {
    int64_t slot, token, tokens, block, blocks;
};

// Threads that get memory to write weights as bytes in.
int64_t expanding(int64_t threads) { return std::min(threads, Deal::most_slots); }

// Where a thread with this slot writes them.
std::byte* expanded_of(const LinearInput& in, int64_t slot) {
    return in.expanded ? in.expanded + slot * expanded_bytes(in.shared.inputs) : nullptr;
}

void run_strip(const LinearInput& in, const PackedProduct* products, int count, float* memory,
               int64_t floats, const StripPlace& at, const StripBody& body) {
    const int64_t first = at.block * packed_rows;
    const int64_t rows = std::min(products[0].rows - first, at.blocks * packed_rows);
    Strip strip{at.token, std::min(at.tokens, in.shared.tokens - at.token), first, rows, {}};
    for (int i = 0; i < count; i++) {
        PackedProduct part = tokens_of(products[i], at.token, at.tokens);
        part.expanded = expanded_of(in, at.slot);
        part.weight += at.block * part.format.block_bytes(part.inputs);
        part.bias = part.bias ? part.bias + first : nullptr;
        part.rows = rows;
        part.out = memory + i * floats;
        if (i + 1 < count) prefetch_block(products[i + 1], at.block);
        for (int64_t j = 0; j < at.blocks; j++) in.core->block(part, j);
        strip.values[i] = part.out;
    }
    body.combine(strip);
}

}  // namespace

Status open_linear(Context& ctx, const Tensor& x, const InputNorm& norm, std::string_view format,
                   LinearInput* in) {
    if (x.rank < 1 || x.dtype != PENLIGHT_FLOAT || !x.contiguous())
        return ctx.fail("expected a contiguous float32 input but got %s; convert it first",
                        dtype_name(x.dtype));
    PackedProduct p{};
    PENLIGHT_TRY(check_packed_format(ctx, format, &p.format));
    p.tokens = token_count(x);
    p.inputs = x.size(x.rank - 1);
    p.prefetch = ctx.prefetch_near;
    if (norm.weight && !is_vector(*norm.weight, p.inputs))
        return ctx.fail("expected a float32 weight [%lld] of the norm; check its shape and dtype",
                        static_cast<long long>(p.inputs));
    const size_t normed = norm.weight ? aligned(static_cast<size_t>(x.numel()) * 4) : 0;
    size_t quantized = 0;
    if (p.format.quantized())
        quantized =
            aligned(static_cast<size_t>(p.tokens * quantized_token_bytes(p.format, p.inputs)));
    const PackedCore* core = packed_core_of(ctx.isa);
    const bool expand = p.format.centred() && core->expands && p.tokens >= expand_tokens;
    const int64_t expanded = expand ? expanding(ctx.threads()) * expanded_bytes(p.inputs) : 0;
    const size_t needed =
        add_scratch(add_scratch(normed, quantized), static_cast<size_t>(expanded));
    if (needed > ctx.scratch_size)
        return ctx.fail("expected %zu bytes of scratch memory but got %zu; load the method again",
                        needed, ctx.scratch_size);
    p.x = norm.weight ? reinterpret_cast<float*>(ctx.scratch()) : x.ptr<float>();
    p.quantized = ctx.scratch() + normed;
    *in = {core,
           format,
           &x,
           norm,
           p,
           reinterpret_cast<float*>(ctx.scratch()),
           expand ? p.quantized + quantized : nullptr,
           ctx.scratch() + needed,
           ctx.scratch_size - needed};
    return Status::ok;
}

Status add_product(Context& ctx, const LinearInput& in, const Tensor& weight, int64_t rows,
                   const Tensor* bias, Tensor& out, PackedProduct* product) {
    PackedProduct p = in.shared;
    PENLIGHT_TRY(check_packed(ctx, weight, in.format, rows, p.inputs, &p.format));
    if (bias && !is_vector(*bias, rows))
        return ctx.fail("expected a float32 bias [%lld]; check its shape and dtype",
                        static_cast<long long>(rows));
    const int32_t last = in.x->rank - 1;
    int64_t sizes[PENLIGHT_MAX_RANK];
    std::copy(in.x->sizes, in.x->sizes + last, sizes);
    sizes[last] = rows;
    PENLIGHT_TRY(resize(ctx, out, in.x->rank, sizes));
    if (out.dtype != PENLIGHT_FLOAT || !out.contiguous())
        return ctx.fail("expected a contiguous float32 result but got %s; export the model again",
                        dtype_name(out.dtype));
    p.rows = rows;
    p.weight = weight.ptr<uint8_t>();
    p.bias = bias ? bias->ptr<float>() : nullptr;
    p.out = out.ptr<float>();
    *product = p;
    return Status::ok;
}

void prepare_linear(Context& ctx, const LinearInput& in) {
    const PackedProduct& p = in.shared;
    const bool quantized = p.format.quantized();
    if (p.tokens == 0 || p.inputs == 0 || (!quantized && !in.norm.weight)) return;
    const RmsNormRow row = rms_norm_row_of(ctx.isa);
    const float* x = in.x->ptr<float>();
    const int64_t tile = quantized ? in.core->tile[p.format.kind()] : 4;
    ctx.parallel_for((p.tokens + tile - 1) / tile, 2, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) {
            const int64_t stop = in.norm.weight ? std::min(p.tokens, (i + 1) * tile) : 0;
            for (int64_t t = i * tile; t < stop; t++)
                row(x + t * p.inputs, in.norm.weight->ptr<float>(), p.inputs,
                    static_cast<float>(in.norm.eps), static_cast<float>(in.norm.offset),
                    in.normed + t * p.inputs);
            if (quantized) in.core->quantize(p, i);
        }
    });
}

size_t linear_scratch(uint32_t threads, const Tensor& x, bool norm, std::string_view format) {
    PackedFormat f;
    if (x.rank < 1 || !parse_packed(format, &f)) return 0;
    const int64_t inputs = x.max_sizes[x.rank - 1], tokens = most_tokens(x);
    if (tokens < 0 || inputs > INT64_MAX / 64) return SIZE_MAX;
    int64_t normed = 0, quantized = 0, expanded = 0;
    if ((norm && __builtin_mul_overflow(tokens, inputs * 4, &normed)) ||
        (f.quantized() &&
         __builtin_mul_overflow(tokens, quantized_token_bytes(f, inputs), &quantized)) ||
        (f.centred() && tokens >= expand_tokens &&
         __builtin_mul_overflow(expanding(threads), expanded_bytes(inputs), &expanded)))
        return SIZE_MAX;
    return add_scratch(
        add_scratch(aligned(static_cast<size_t>(normed)), aligned(static_cast<size_t>(quantized))),
        static_cast<size_t>(expanded));
}

void run_products(Context& ctx, const LinearInput& in, const PackedProduct* products, int count) {
    const int64_t tokens = in.shared.tokens;
    int64_t blocks = 0;
    for (int i = 0; i < count; i++) blocks += packed_blocks(products[i]);
    if (tokens == 0 || blocks == 0) return;
    const int64_t chunk = chunk_tokens(in, blocks, ctx.threads());
    const int64_t chunks = (tokens + chunk - 1) / chunk;
    const int64_t slots = std::min<int64_t>({ctx.threads(), chunks * blocks, Deal::most_slots});
    deal_out(ctx, chunks * blocks, slots, [&](int64_t slot, int64_t i) {
        const PackedProduct* p = products;
        int64_t block = i % blocks;
        for (; block >= packed_blocks(*p); p++) block -= packed_blocks(*p);
        PackedProduct part = tokens_of(*p, i / blocks * chunk, chunk);
        part.expanded = expanded_of(in, slot);
        in.core->block(part, block);
    });
}

Status run_strips(Context& ctx, const LinearInput& in, const PackedProduct* products, int count,
                  const StripBody& body) {
    const int64_t tokens = in.shared.tokens, blocks = packed_blocks(products[0]);
    if (tokens == 0 || blocks == 0) return Status::ok;
    const int64_t threads = ctx.threads(), chunk = chunk_tokens(in, blocks, threads);
    const int64_t even = threads == 1 ? blocks : (blocks + threads * 4 - 1) / (threads * 4);
    const int64_t run =
        std::min(std::max<int64_t>(1, strip_tokens / std::min(chunk, tokens)), even);
    const int64_t across = (blocks + run - 1) / run;
    const int64_t strips = across * ((tokens + chunk - 1) / chunk);
    const int64_t floats = strip_floats(tokens, count);
    const int64_t slots = std::min<int64_t>(
        {threads, strips, Deal::most_slots, static_cast<int64_t>(in.rest_size / 4) / floats});
    if (slots == 0)
        return ctx.fail("expected %lld more bytes of scratch memory; load the method again",
                        static_cast<long long>(floats * 4));
    deal_out(ctx, strips, slots, [&](int64_t slot, int64_t i) {
        const int64_t block = i % across * run, token = i / across * chunk;
        run_strip(in, products, count, reinterpret_cast<float*>(in.rest) + slot * floats,
                  floats / count, {slot, token, chunk, block, std::min(blocks - block, run)}, body);
    });
    return Status::ok;
}

size_t strip_scratch(uint32_t threads, const Tensor& x, int count) {
    const int64_t tokens = x.rank < 1 ? 0 : most_tokens(x);
    int64_t bytes;
    if (tokens < 0 || tokens > INT64_MAX / (packed_rows * 16) ||
        __builtin_mul_overflow(strip_floats(tokens, count) * 4, int64_t{threads}, &bytes))
        return SIZE_MAX;
    return static_cast<size_t>(bytes);
}

}  // namespace penlight::kernels
