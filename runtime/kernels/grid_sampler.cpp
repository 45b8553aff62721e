// grid_sampler_2d: out[n, c, y, x] = input[n, c] at the place grid[n, y, x], whose coordinates run
// from -1 to 1 (x first).
#include <algorithm>
#include <cinttypes>
#include <cmath>

#include "pooling.h"

namespace penlight::kernels {

enum class Interpolation { bilinear, nearest, bicubic };
enum class Outside { zeros, border, reflection };

// One axis of the input: from grid coordinates to cells.
template <class C> struct GridAxis {
    int64_t size;
    bool align_corners;
    Outside outside;

    C position(C g) const {
        const C n = static_cast<C>(size);
        return align_corners ? (g + 1) / 2 * (n - 1) : ((g + 1) * n - 1) / 2;
    }
    // Reflects about the centres of the outermost cells, or about their outer edges.
    C reflect(C x) const {
        const C low = align_corners ? C{0} : C(-0.5);
        const C span = static_cast<C>(align_corners ? size - 1 : size);
        if (span <= 0) return 0;
        const C distance = std::fabs(x - low);
        const C rest = std::fmod(distance, span);
        const C flips = std::floor(distance / span);
        return std::fmod(flips, C{2}) == 0 ? rest + low : span - rest + low;
    }
    C inside(C x) const {
        if (outside == Outside::zeros) return x;
        if (outside == Outside::reflection) x = reflect(x);
        // A NaN ends at 0.
        return x > 0 ? std::min(x, static_cast<C>(size - 1)) : C{0};
    }
    bool holds(C cell) const { return cell >= 0 && cell <= static_cast<C>(size - 1); }
};

template <class T> struct GridPlane {
    using C = PoolType<T>;
    const T* data;
    int64_t row, column;
    GridAxis<C> y, x;

    // The cell at integral coordinates; 0 outside.
    C cell(C cy, C cx) const {
        if (!y.holds(cy) || !x.holds(cx)) return 0;
        return convert<C>(data[static_cast<int64_t>(cy) * row + static_cast<int64_t>(cx) * column]);
    }
    C nearest(C gy, C gx) const {
        return cell(std::nearbyint(y.inside(gy)), std::nearbyint(x.inside(gx)));
    }
    C bilinear(C gy, C gx) const {
        const C py = y.inside(gy), px = x.inside(gx);
        const C y0 = std::floor(py), x0 = std::floor(px), v = py - y0, u = px - x0;
        return cell(y0, x0) * (1 - v) * (1 - u) + cell(y0, x0 + 1) * (1 - v) * u +
               cell(y0 + 1, x0) * v * (1 - u) + cell(y0 + 1, x0 + 1) * v * u;
    }
    // Cubic convolution with a = -0.75 (Keys, 1981), over 4 x 4 cells, each brought inside.
    C bicubic(C gy, C gx) const {
        const C y0 = std::floor(gy), x0 = std::floor(gx);
        C wy[4], wx[4], sum = 0;
        cubic(gy - y0, wy);
        cubic(gx - x0, wx);
        for (int i = 0; i < 4; i++) {
            C line = 0;
            for (int j = 0; j < 4; j++) {
                line += wx[j] * cell(y.inside(y0 + static_cast<C>(i - 1)),
                                     x.inside(x0 + static_cast<C>(j - 1)));
            }
            sum += wy[i] * line;
        }
        return sum;
    }
    static void cubic(C t, C* w) {
        const C a = C(-0.75);
        auto near = [a](C d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
        auto far = [a](C d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
        w[0] = far(t + 1), w[1] = near(t), w[2] = near(1 - t), w[3] = far(2 - t);
    }
};

template <class T>
static void sample_planes(Context& ctx, const Tensor& input, const Tensor& grid, Interpolation mode,
                          Outside outside, bool align_corners, Tensor& out) {
    using C = PoolType<T>;
    const Planes in = planes_of(input, 2), to = planes_of(out, 2);
    ctx.parallel_for(to.count(), grain_for(8 * to.volume()), [&](int64_t first, int64_t last) {
        for (int64_t p = first; p < last; p++) {
            const GridPlane<T> plane{input.ptr<T>() + in.offset(p),
                                     in.stride[1],
                                     in.stride[2],
                                     {in.size[1], align_corners, outside},
                                     {in.size[2], align_corners, outside}};
            const T* places = grid.ptr<T>() + p / to.channels * grid.strides[0];
            T* values = out.ptr<T>() + to.offset(p);
            for_cells(to, [&](int64_t at, const int64_t* cell) {
                const T* g = places + cell[1] * grid.strides[1] + cell[2] * grid.strides[2];
                const C x = plane.x.position(convert<C>(g[0]));
                const C y = plane.y.position(convert<C>(g[grid.strides[3]]));
                values[at] = convert<T>(mode == Interpolation::nearest    ? plane.nearest(y, x)
                                        : mode == Interpolation::bilinear ? plane.bilinear(y, x)
                                                                          : plane.bicubic(y, x));
            });
        }
    });
}

// input [N, C, H, W], grid [N, h, w, 2] -> out [N, C, h, w]
static Status grid_sampler_2d_out(Context& ctx, const Tensor& input, const Tensor& grid,
                                  int64_t interpolation_mode, int64_t padding_mode,
                                  bool align_corners, Tensor& out) {
    PENLIGHT_TRY(expect_rank(ctx, "input", input, 4, 4));
    PENLIGHT_TRY(expect_rank(ctx, "grid", grid, 4, 4));
    PENLIGHT_TRY(expect_dtype(ctx, "grid", grid, input.dtype));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, input.dtype));
    if (grid.sizes[0] != input.sizes[0] || grid.sizes[3] != 2) {
        return ctx.fail("expected grid [%" PRId64 ", h, w, 2] but got %s", input.sizes[0],
                        ShapeText(grid).text);
    }
    if (interpolation_mode < 0 || interpolation_mode > 2 || padding_mode < 0 || padding_mode > 2) {
        return ctx.fail("expected modes 0 to 2 but got %" PRId64 " and %" PRId64,
                        interpolation_mode, padding_mode);
    }
    PENLIGHT_TRY(resize_spatial(ctx, input, 2, grid.sizes + 1, out));
    const bool known = visit_floating(input.dtype, [&](auto type) {
        sample_planes<typename decltype(type)::type>(
            ctx, input, grid, static_cast<Interpolation>(interpolation_mode),
            static_cast<Outside>(padding_mode), align_corners, out);
    });
    if (known) return Status::ok;
    return ctx.fail("expected input of a floating dtype but got %s", dtype_name(input.dtype));
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(grid_sampler_2d_out)
