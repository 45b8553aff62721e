// penlight::attention: causal attention of new tokens over a key and value cache. attention_bf16 is
// the same, but many tokens at once may be multiplied as bfloat16, where the processor does that.
#include "attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "cache.h"
#include "gemm.h"
#include "slots.h"

#define PENLIGHT_TARGET_FLOAT_ONLY
#define PENLIGHT_TARGET_WITH_BF16
#define PENLIGHT_TARGET_SOURCE "attention.simd.h"
#include "simd/for_each_target.h"

namespace penlight::kernels {
namespace {

Status check(Context& ctx, const Tensor& q, const Tensor& keys, const Tensor& values,
             const Tensor& out) {
    if (q.rank != 4 || keys.rank != 4 || values.rank != 4 || q.size(0) != 1 || keys.size(0) != 1)
        return ctx.fail(
            "expected queries [1, T, H, D] and caches [1, G, S, D] but got ranks %d, %d "
            "and %d",
            q.rank, keys.rank, values.rank);
    if (q.dtype != PENLIGHT_FLOAT || out.dtype != PENLIGHT_FLOAT || keys.dtype != values.dtype ||
        (keys.dtype != PENLIGHT_FLOAT && keys.dtype != PENLIGHT_HALF &&
         keys.dtype != PENLIGHT_INT8))
        return ctx.fail(
            "expected float32 queries and float32, float16 or int8 caches but got %s, %s and "
            "%s",
            dtype_name(q.dtype), dtype_name(keys.dtype), dtype_name(values.dtype));
    for (int d = 0; d < 4; d++)
        if (keys.size(d) != values.size(d))
            return ctx.fail("expected key and value caches of one shape; check the model");
    if (keys.size(1) < 1 || q.size(2) % keys.size(1) != 0 ||
        keys.size(3) != cache_row(keys.dtype, q.size(3)))
        return ctx.fail(
            "expected query heads a multiple of %lld and cache rows of %lld but got %lld and "
            "%lld; export the model again",
            static_cast<long long>(keys.size(1)),
            static_cast<long long>(cache_row(keys.dtype, q.size(3))),
            static_cast<long long>(q.size(2)), static_cast<long long>(keys.size(3)));
    if (!q.contiguous() || !keys.contiguous() || !values.contiguous())
        return ctx.fail("expected contiguous queries and caches; make contiguous copies first");
    return Status::ok;
}

using Prefill = void (*)(const Attention& a, int64_t group, int64_t first_row, float* scratch);

Status decode(Context& ctx, Attention& a) {
    const auto decode_chunk = PENLIGHT_SELECT_FLOAT(ctx.isa, decode_chunk);
    const auto merge = PENLIGHT_SELECT_FLOAT(ctx.isa, merge);
    a.partial = reinterpret_cast<float*>(ctx.scratch());
    a.first_chunk = a.first_key(0) / attention_chunk;
    a.chunks = (a.end() + attention_chunk - 1) / attention_chunk - a.first_chunk;
    const int64_t rows = a.tokens * a.heads;
    if (static_cast<uint64_t>(a.chunks * rows * a.record()) * 4 > ctx.scratch_size)
        return ctx.fail("expected more scratch memory than %zu bytes; load the method again",
                        ctx.scratch_size);
    // By cache head: its chunks lie behind each other.
    ctx.parallel_for(a.groups * a.chunks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) decode_chunk(a, i / a.chunks, i % a.chunks);
    });
    ctx.parallel_for(rows, 64, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; r++) merge(a, r);
    });
    return Status::ok;
}

Status prefill(Context& ctx, const Attention& a, Prefill task) {
    const int64_t tiles = (a.tokens * a.shared() + attention_rows - 1) / attention_rows;
    const int64_t tasks = tiles * a.groups, floats = attention_prefill_floats(a.dim);
    const int64_t slots = std::min<int64_t>(
        {ctx.threads(), tasks, static_cast<int64_t>(ctx.scratch_size / (4 * floats))});
    if (slots == 0)
        return ctx.fail("expected more scratch memory than %zu bytes; load the method again",
                        ctx.scratch_size);
    std::atomic<int64_t> next{0};
    in_slots(ctx, slots, [&](int64_t slot, const auto& more) {
        for (int64_t t; more() && (t = next.fetch_add(1, std::memory_order_relaxed)) < tasks;)
            // The last rows see the most keys: begin with them.
            task(a, t % a.groups, (tiles - 1 - t / a.groups) * attention_rows,
                 reinterpret_cast<float*>(ctx.scratch()) + slot * floats);
    });
    return Status::ok;
}

Status attend(Context& ctx, const Tensor& q, const Tensor& keys, const Tensor& values,
              const Tensor& input_pos, double scale, int64_t window, double softcap, Tensor& out,
              Prefill task) {
    PENLIGHT_TRY(check(ctx, q, keys, values, out));
    Attention a{};
    PENLIGHT_TRY(cache_start(ctx, input_pos, q.size(1), keys.size(2), &a.start));
    PENLIGHT_TRY(resize_like(ctx, out, q));
    if (!out.contiguous()) return ctx.fail("expected a contiguous result; export the model again");
    if (q.numel() == 0) return Status::ok;
    a.q = q.ptr<float>();
    a.keys = keys.data;
    a.values = values.data;
    a.cache = keys.dtype;
    a.out = out.ptr<float>();
    a.tokens = q.size(1);
    a.heads = q.size(2);
    a.groups = keys.size(1);
    a.dim = q.size(3);
    a.width = keys.size(3);
    a.capacity = keys.size(2);
    a.scale = static_cast<float>(scale);
    a.softcap = static_cast<float>(softcap);
    a.prefetch_near = ctx.prefetch_near;
    a.window = std::min(window, keys.size(2));
    return a.tokens <= attention_decode_tokens ? decode(ctx, a) : prefill(ctx, a, task);
}

Status attention_out(Context& ctx, const Tensor& q, const Tensor& keys, const Tensor& values,
                     const Tensor& input_pos, double scale, int64_t window, double softcap,
                     Tensor& out) {
    return attend(ctx, q, keys, values, input_pos, scale, window, softcap, out,
                  PENLIGHT_SELECT_FLOAT(ctx.isa, prefill));
}

Status attention_bf16_out(Context& ctx, const Tensor& q, const Tensor& keys, const Tensor& values,
                          const Tensor& input_pos, double scale, int64_t window, double softcap,
                          Tensor& out) {
    return attend(ctx, q, keys, values, input_pos, scale, window, softcap, out,
                  PENLIGHT_SELECT_BF16(ctx.isa, prefill));
}

size_t attention_scratch(uint32_t threads, const Tensor& q, const Tensor& keys, const Tensor&,
                         const Tensor&, double, int64_t, double, Tensor&) {
    if (q.rank != 4 || keys.rank != 4) return 0;
    const int64_t chunks = keys.max_sizes[2] / attention_chunk + 1, dim = q.max_sizes[3];
    const int64_t tokens = std::min(q.max_sizes[1], attention_decode_tokens);
    if (dim > int64_t{1} << 32) return SIZE_MAX;
    int64_t decode, prefill;
    if (__builtin_mul_overflow(chunks, tokens, &decode) ||
        __builtin_mul_overflow(decode, q.max_sizes[2], &decode) ||
        __builtin_mul_overflow(decode, attention_record(dim) * 4, &decode) ||
        __builtin_mul_overflow(attention_prefill_floats(dim) * 4, int64_t{threads}, &prefill))
        return SIZE_MAX;
    if (q.max_sizes[1] <= attention_decode_tokens) prefill = 0;
    return static_cast<size_t>(std::max(decode, prefill));
}

}  // namespace
}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(attention_out, attention_scratch)
PENLIGHT_DEFINE_KERNEL_WITH_SCRATCH(attention_bf16_out, attention_scratch)
