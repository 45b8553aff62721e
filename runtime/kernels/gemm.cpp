#include "gemm.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <type_traits>

#include "slots.h"

#define PENLIGHT_TARGET_FLOAT_ONLY
#define PENLIGHT_TARGET_SOURCE "gemm.simd.h"
#include "simd/for_each_target.h"

namespace penlight::kernels {
namespace {

constexpr int64_t packed_bytes = 512 << 10;  // per thread and side: half of a usual L2
constexpr int64_t tasks_per_thread = 4;      // so that an uneven machine still divides the work

int64_t round_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

// Any compute type, one tile shape: the definition that the float core is tested against, and what
// double and integers use.
template <class T> struct PlainCore {
    static constexpr int rows = 4, cols = 8;
    static void tile(int count, const T* a, int64_t a_stride, const T* b, int64_t b_stride,
                     int64_t depth, T* tile, int64_t tile_stride) {
        using Sum = std::conditional_t<std::is_same_v<T, int64_t>, uint64_t, T>;  // integers wrap
        for (int r = 0; r < count; r++) {
            Sum acc[cols] = {};
            for (int64_t k = 0; k < depth; k++) {
                Sum x = static_cast<Sum>(a[r * a_stride + k]);
                for (int c = 0; c < cols; c++) acc[c] += x * static_cast<Sum>(b[k * b_stride + c]);
            }
            for (int c = 0; c < cols; c++) tile[r * tile_stride + c] = static_cast<T>(acc[c]);
        }
    }
};

// How one product is cut. Depends on shapes and thread count; the order of no sum does.
struct Plan {
    bool direct_a;  // A's rows are read in place
    bool dot;       // few columns, everything contiguous in depth
    int tile_rows, tile_cols;
    int64_t block_rows, block_cols;  // of one task
    int64_t row_blocks, col_blocks, tasks;
    size_t a_bytes, b_bytes;  // packed, per thread
};

bool in_place(const GemmOperand& o, Compute c) {
    return !o.gather && !o.depth_run && o.depth_stride == 1 && o.dtype == compute_dtype(c);
}

// Products are symmetric: out^T = B^T A^T. Puts the side to be read in place first.
void orient(Gemm& g, Compute c) {
    if (g.a.gather || !in_place(g.b, c)) return;
    bool few_rows = g.rows <= gemm_max_dot_lanes && c == Compute::f32;
    bool cheaper_to_pack_a = g.rows < 128 && g.rows < g.cols;
    if (!(few_rows || cheaper_to_pack_a || !in_place(g.a, c))) return;
    std::swap(g.a, g.b);
    std::swap(g.rows, g.cols);
    std::swap(g.out.row_stride, g.out.col_stride);
    std::swap(g.add.row_stride, g.add.col_stride);
}

Plan make_plan(const Gemm& g, Compute c, int tile_rows, int tile_cols, int64_t threads) {
    Plan p{};
    const int64_t size = static_cast<int64_t>(compute_size(c));
    const int64_t depth = std::max<int64_t>(g.depth, 1);
    p.tile_rows = tile_rows;
    p.tile_cols = tile_cols;
    p.direct_a = in_place(g.a, c);
    p.dot = c == Compute::f32 && p.direct_a && g.cols <= gemm_max_dot_lanes;
    int64_t fit = packed_bytes / size / depth;  // lanes of this depth that fit
    int64_t max_rows = p.direct_a ? g.rows : std::max<int64_t>(fit / tile_rows, 1) * tile_rows;
    p.block_rows = round_up(std::min(g.rows, max_rows), tile_rows);
    p.block_cols =
        round_up(std::min(g.cols, std::max<int64_t>(fit / tile_cols, 1) * tile_cols), tile_cols);
    const int64_t wanted = threads > 1 ? threads * tasks_per_thread : 1;
    auto count = [&] {
        p.row_blocks = (g.rows + p.block_rows - 1) / p.block_rows;
        p.col_blocks = (g.cols + p.block_cols - 1) / p.block_cols;
        return p.tasks = p.row_blocks * p.col_blocks * g.outer * g.inner;
    };
    if (p.dot) p.block_cols = round_up(g.cols, tile_cols);
    while (!p.dot && count() < wanted && p.block_cols > tile_cols)
        p.block_cols = round_up(p.block_cols / 2, tile_cols);
    while (count() < wanted && p.block_rows > tile_rows)
        p.block_rows = round_up(p.block_rows / 2, tile_rows);
    count();
    p.a_bytes = p.direct_a ? 0 : round_up(p.block_rows * depth * size, 64);
    p.b_bytes = round_up(p.block_cols * depth * size, 64);
    return p;
}

template <class T> struct Driver {
    using Tile = void (*)(int, const T*, int64_t, const T*, int64_t, int64_t, T*, int64_t);
    const Gemm& g;
    const Plan& p;
    Compute compute;
    Tile tile;
    decltype(GemmCore::dot) dot;
    LoadFunction load_a, load_b, load_add;
    StoreFunction store;
    T alpha, beta;
    bool plain;  // out is contiguous along columns, of the compute type, and the product alone

    static const std::byte* at(const void* data, int32_t dtype, int64_t elements) {
        return static_cast<const std::byte*>(data) +
               elements * static_cast<int64_t>(item_size(dtype));
    }
    static const std::byte* batch(const GemmOperand& o, int64_t outer, int64_t inner) {
        return at(o.data, o.dtype, outer * o.outer_stride + inner * o.inner_stride);
    }

    // to[row][depth]
    void pack_a(const std::byte* a, int64_t first, int64_t count, T* to) const {
        int64_t run = g.a.depth_run ? g.a.depth_run : g.depth;
        for (int64_t r = 0; r < count; r++)
            for (int64_t k = 0, i = 0; k < g.depth; k += run, i++, to += run)
                load_a(at(a, g.a.dtype, (first + r) * g.a.lane_stride + i * g.a.depth_run_stride),
                       g.a.depth_stride, run, to);
    }
    // to[panel][depth][tile_cols]; the last panel is filled up with zeros.
    void pack_b(int64_t outer, int64_t inner, int64_t first, int64_t count, T* to) const {
        const std::byte* b = batch(g.b, outer, inner);
        for (int64_t c = 0; c < count; c += p.tile_cols, to += p.tile_cols * g.depth) {
            int64_t n = std::min<int64_t>(p.tile_cols, count - c);
            if (n < p.tile_cols) std::fill(to, to + p.tile_cols * g.depth, T{});
            if (g.b.gather) {
                g.b.gather(g.b.self, outer, inner, first + c, n, p.tile_cols, to);
            } else if (g.b.depth_stride == 1) {
                pack_across(b, first + c, n, to);
            } else {
                for (int64_t k = 0; k < g.depth; k++)
                    load_b(at(b, g.b.dtype, (first + c) * g.b.lane_stride + k * g.b.depth_stride),
                           g.b.lane_stride, n, to + k * p.tile_cols);
            }
        }
    }
    // Lanes contiguous in depth: read along it, in runs that stay in L1.
    void pack_across(const std::byte* b, int64_t first, int64_t count, T* to) const {
        constexpr int64_t run = 64;
        T line[run];
        for (int64_t k = 0; k < g.depth; k += run) {
            int64_t n = std::min(run, g.depth - k);
            for (int64_t lane = 0; lane < count; lane++) {
                load_b(at(b, g.b.dtype, (first + lane) * g.b.lane_stride + k), 1, n, line);
                for (int64_t i = 0; i < n; i++) to[(k + i) * p.tile_cols + lane] = line[i];
            }
        }
    }
    // out[row.., col..] = alpha * tile + beta * add
    void finish(int64_t outer, int64_t inner, int64_t row, int64_t col, int64_t rows, int64_t cols,
                T* values, int64_t stride) const {
        int64_t base = outer * g.out.outer_stride + inner * g.out.inner_stride;
        for (int64_t r = 0; r < rows; r++, values += stride) {
            auto* to = const_cast<std::byte*>(
                at(g.out.data, g.out.dtype,
                   base + (row + r) * g.out.row_stride + col * g.out.col_stride));
            if (plain) {
                memcpy(to, values, static_cast<size_t>(cols) * sizeof(T));
                continue;
            }
            combine(outer, inner, row + r, col, cols, values);
            store(values, g.out.col_stride, cols, to);
        }
    }
    void combine(int64_t outer, int64_t inner, int64_t row, int64_t col, int64_t cols,
                 T* values) const {
        using Sum = std::conditional_t<std::is_same_v<T, int64_t>, uint64_t, T>;
        if (alpha != T{1})
            for (int64_t c = 0; c < cols; c++)
                values[c] = static_cast<T>(static_cast<Sum>(values[c]) * static_cast<Sum>(alpha));
        if (!g.add.data || beta == T{0}) return;
        T other[gemm_max_tile];
        int64_t offset = outer * g.add.outer_stride + inner * g.add.inner_stride +
                         row * g.add.row_stride + col * g.add.col_stride;
        load_add(at(g.add.data, g.add.dtype, offset), g.add.col_stride, cols, other);
        for (int64_t c = 0; c < cols; c++)
            values[c] = static_cast<T>(static_cast<Sum>(values[c]) +
                                       static_cast<Sum>(beta) * static_cast<Sum>(other[c]));
    }

    struct Slot {
        T* a;
        T* b;
        int64_t packed_b = -1;  // which block of columns b holds
    };
    void run(int64_t task, Slot& slot) const {
        int64_t row_block = task % p.row_blocks, columns = task / p.row_blocks;
        int64_t col_block = columns % p.col_blocks, outer = columns / p.col_blocks / g.inner;
        int64_t inner = columns / p.col_blocks % g.inner;
        int64_t row = row_block * p.block_rows, col = col_block * p.block_cols;
        int64_t rows = std::min(p.block_rows, g.rows - row);
        int64_t cols = std::min(p.block_cols, g.cols - col);
        const std::byte* source = batch(g.a, outer, inner);
        const T* a = reinterpret_cast<const T*>(source) + row * g.a.lane_stride;
        int64_t a_stride = g.a.lane_stride;
        if (!p.direct_a) {
            pack_a(source, row, rows, slot.a);
            a = slot.a;
            a_stride = g.depth;
        }
        if constexpr (std::is_same_v<T, float>) {
            if (p.dot) return run_dot(outer, inner, row, rows, a, a_stride, slot);
        }
        // One row of tiles alone does not repay packing.
        bool direct_b = rows <= p.tile_rows && !g.b.gather && g.b.lane_stride == 1 &&
                        g.b.dtype == compute_dtype(compute) && cols % p.tile_cols == 0;
        if (!direct_b && slot.packed_b != columns) {
            pack_b(outer, inner, col, cols, slot.b);
            slot.packed_b = columns;
        }
        alignas(64) T values[gemm_max_tile * gemm_max_tile];
        for (int64_t r = 0; r < rows; r += p.tile_rows) {
            int64_t height = std::min<int64_t>(p.tile_rows, rows - r);
            for (int64_t c = 0; c < cols; c += p.tile_cols) {
                const T* b = direct_b
                                 ? reinterpret_cast<const T*>(batch(g.b, outer, inner)) + col + c
                                 : slot.b + c * g.depth;
                tile(static_cast<int>(height), a + r * a_stride, a_stride, b,
                     direct_b ? g.b.depth_stride : p.tile_cols, g.depth, values, p.tile_cols);
                finish(outer, inner, row + r, col + c, height,
                       std::min<int64_t>(p.tile_cols, cols - c), values, p.tile_cols);
            }
        }
    }
    void run_dot(int64_t outer, int64_t inner, int64_t row, int64_t rows, const float* a,
                 int64_t a_stride, Slot& slot) const {
        const std::byte* source = batch(g.b, outer, inner);
        const float* b = reinterpret_cast<const float*>(source);
        int64_t b_stride = g.b.lane_stride;
        if (!in_place(g.b, compute)) {
            for (int64_t lane = 0; lane < g.cols; lane++) {
                if (g.b.gather) {
                    g.b.gather(g.b.self, outer, inner, lane, 1, 1, slot.b + lane * g.depth);
                    continue;
                }
                load_b(at(source, g.b.dtype, lane * g.b.lane_stride), g.b.depth_stride, g.depth,
                       slot.b + lane * g.depth);
            }
            b = slot.b;
            b_stride = g.depth;
        }
        constexpr int64_t step = 16;
        float values[step * gemm_max_dot_lanes];
        for (int64_t r = 0; r < rows; r += step) {
            int64_t n = std::min(step, rows - r);
            dot(n, static_cast<int>(g.cols), a + r * a_stride, a_stride, b, b_stride, g.depth,
                values);
            finish(outer, inner, row + r, 0, n, g.cols, values, g.cols);
        }
    }
};

template <class T>
Status drive(Context& ctx, const Gemm& g, Compute c, int tile_rows, int tile_cols,
             typename Driver<T>::Tile tile, decltype(GemmCore::dot) dot) {
    Plan p = make_plan(g, c, tile_rows, tile_cols, ctx.threads());
    Driver<T> d{g,
                p,
                c,
                tile,
                dot,
                load_function(c, g.a.dtype),
                load_function(c, g.b.dtype),
                g.add.data ? load_function(c, g.add.dtype) : nullptr,
                store_function(c, g.out.dtype),
                static_cast<T>(std::is_same_v<T, int64_t> ? g.alpha.to_int() : g.alpha.to_double()),
                static_cast<T>(std::is_same_v<T, int64_t> ? g.beta.to_int() : g.beta.to_double()),
                false};
    d.plain = d.alpha == T{1} && (!g.add.data || d.beta == T{0}) && g.out.col_stride == 1 &&
              g.out.dtype == compute_dtype(c);
    size_t slot_bytes = p.a_bytes + p.b_bytes;
    int64_t slots = std::min<int64_t>(
        {ctx.threads(), p.tasks, static_cast<int64_t>(ctx.scratch_size / slot_bytes)});
    if (slots == 0)
        return ctx.fail("expected %zu bytes of scratch memory but got %zu; load the method again",
                        slot_bytes, ctx.scratch_size);
    std::atomic<int64_t> next{0};
    in_slots(ctx, slots, [&](int64_t s, const auto& more) {
        std::byte* memory = ctx.scratch() + static_cast<size_t>(s) * slot_bytes;
        typename Driver<T>::Slot slot{reinterpret_cast<T*>(memory),
                                      reinterpret_cast<T*>(memory + p.a_bytes)};
        for (int64_t t; more() && (t = next.fetch_add(1, std::memory_order_relaxed)) < p.tasks;)
            d.run(t, slot);
    });
    return Status::ok;
}

}  // namespace

Status gemm(Context& ctx, const Gemm& original) {
    if (original.rows == 0 || original.cols == 0 || original.outer * original.inner == 0)
        return Status::ok;
    Gemm g = original;
    Compute c = compute_type(g.out.dtype);
    orient(g, c);
    if (c == Compute::f32) {
        const GemmCore& core = *PENLIGHT_SELECT_FLOAT(ctx.isa, gemm_core);
        return drive<float>(ctx, g, c, core.rows, core.cols, core.tile, core.dot);
    }
    if (c == Compute::f64) {
        using Core = PlainCore<double>;
        return drive<double>(ctx, g, c, Core::rows, Core::cols, Core::tile, nullptr);
    }
    using Core = PlainCore<int64_t>;
    return drive<int64_t>(ctx, g, c, Core::rows, Core::cols, Core::tile, nullptr);
}

size_t gemm_scratch(uint32_t threads, int64_t rows, int64_t cols, int64_t depth) {
    // Both sides, whichever way round: never more than the lanes there are, nor more than fit the
    // budget, but at least one tile.
    int64_t most = std::max(rows, cols);
    size_t lane, all, tile, total;
    if (most > INT64_MAX - gemm_max_tile ||
        __builtin_mul_overflow(static_cast<size_t>(std::max<int64_t>(depth, 1)), size_t{8},
                               &lane) ||
        __builtin_mul_overflow(lane, static_cast<size_t>(gemm_max_tile), &tile))
        return SIZE_MAX;
    size_t budget = std::max<size_t>(tile, packed_bytes);
    if (!__builtin_mul_overflow(lane, static_cast<size_t>(round_up(most, gemm_max_tile)), &all))
        budget = std::min(budget, all);
    if (__builtin_add_overflow(budget, size_t{64}, &budget) ||
        __builtin_mul_overflow(budget, size_t{2} * threads, &total))
        return SIZE_MAX;
    return total;
}

}  // namespace penlight::kernels
