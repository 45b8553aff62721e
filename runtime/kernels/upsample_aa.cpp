// Bilinear resampling with antialiasing: when shrinking, the triangle filter is as wide as the
// cells of the output, so that every input cell counts.
#include <cmath>

#include "resample.h"

namespace penlight::kernels {

// The input cells that one output position averages, with weight(i) before normalisation.
template <class C> struct Triangle {
    int64_t begin, end;
    C centre, inverse, total;

    Triangle(int64_t o, int64_t in, C scale) {
        const C support = scale >= 1 ? scale : C{1};
        centre = scale * (static_cast<C>(o) + C(0.5));
        inverse = scale >= 1 ? 1 / scale : C{1};
        begin = cell_at(centre - support + C(0.5), in);
        end = cell_at(centre + support + C(0.5), in);
        total = 0;
        for (int64_t i = begin; i < end; i++) total += raw(i);
        if (total == 0) total = 1;
    }
    C raw(int64_t i) const {
        const C distance = std::fabs((static_cast<C>(i) - centre + C(0.5)) * inverse);
        return distance < 1 ? 1 - distance : C{0};
    }
    C weight(int64_t i) const { return raw(i) / total; }
};

template <class T>
static void antialias_planes(Context& ctx, const Tensor& self, const Resample& r,
                             bool align_corners, Tensor& out) {
    using C = PoolType<T>;
    const Planes in = planes_of(self, 2), to = planes_of(out, 2);
    const C scale_y = resample_scale<C>(in.size[1], to.size[1], align_corners, r.factor[0]);
    const C scale_x = resample_scale<C>(in.size[2], to.size[2], align_corners, r.factor[1]);
    ctx.parallel_for(to.count(), 1, [&](int64_t first, int64_t last) {
        for (int64_t p = first; p < last; p++) {
            const T* plane = self.ptr<T>() + in.offset(p);
            for_cells(to, [&](int64_t at, const int64_t* cell) {
                const Triangle<C> rows(cell[1], in.size[1], scale_y);
                const Triangle<C> columns(cell[2], in.size[2], scale_x);
                C sum = 0;
                for (int64_t y = rows.begin; y < rows.end; y++) {
                    C row = 0;
                    for (int64_t x = columns.begin; x < columns.end; x++) {
                        row += columns.weight(x) *
                               convert<C>(plane[y * in.stride[1] + x * in.stride[2]]);
                    }
                    sum += rows.weight(y) * row;
                }
                out.ptr<T>()[to.offset(p) + at] = convert<T>(sum);
            });
        }
    });
}

static Status upsample_bilinear2d_aa_out(Context& ctx, const Tensor& self, IntList output_size,
                                         bool align_corners, std::optional<double> scales_h,
                                         std::optional<double> scales_w, Tensor& out) {
    Resample r;
    PENLIGHT_TRY(expect_rank(ctx, "self", self, 4, 4));
    PENLIGHT_TRY(read_resample(ctx, 2, output_size, scales_h, scales_w, &r));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, self.dtype));
    PENLIGHT_TRY(resize_spatial(ctx, self, 2, r.sizes, out));
    const bool known = visit_floating(self.dtype, [&](auto type) {
        antialias_planes<typename decltype(type)::type>(ctx, self, r, align_corners, out);
    });
    if (known) return Status::ok;
    return ctx.fail("expected self of a floating dtype but got %s", dtype_name(self.dtype));
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(upsample_bilinear2d_aa_out)
