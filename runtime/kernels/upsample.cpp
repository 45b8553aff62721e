// upsample_nearest1d, upsample_nearest2d and upsample_bilinear2d.
#include <algorithm>
#include <cinttypes>

#include "resample.h"

namespace penlight::kernels {

Status read_resample(Context& ctx, const Tensor& input, const std::optional<IntList>& output_size,
                     const std::optional<RealList>& scale_factors, Resample* r) {
    PENLIGHT_TRY(expect_rank(ctx, "input", input, 4, 4));
    *r = {};
    if (output_size.has_value() == scale_factors.has_value()) {
        return ctx.fail("expected either output_size or scale_factors but got %s",
                        output_size ? "both" : "neither");
    }
    if (output_size) return read_resample(ctx, 2, *output_size, {}, {}, r);
    if (scale_factors->size() != 2) {
        return ctx.fail("expected 2 scale_factors but got %u", scale_factors->size());
    }
    for (uint32_t i = 0; i < 2; i++) {
        r->factor[i] = (*scale_factors)[i];
        const double size = static_cast<double>(input.sizes[2 + i]) * r->factor[i];
        if (!(size >= 1 && size < 1e15)) {
            return ctx.fail("expected scale_factors that leave a size but got %g", r->factor[i]);
        }
        r->sizes[i] = static_cast<int64_t>(size);
    }
    return Status::ok;
}

Status read_resample(Context& ctx, int32_t dims, const IntList& output_size,
                     std::optional<double> first, std::optional<double> second, Resample* r) {
    *r = {};
    if (output_size.size() != static_cast<uint32_t>(dims)) {
        return ctx.fail("expected an output_size of %d but got %u", dims, output_size.size());
    }
    for (int32_t i = 0; i < dims; i++) {
        r->sizes[i] = output_size[static_cast<uint32_t>(i)];
        if (r->sizes[i] < 1) return ctx.fail("expected sizes >= 1 but got %" PRId64, r->sizes[i]);
    }
    r->factor[0] = first.value_or(0);
    r->factor[1] = second.value_or(0);
    return Status::ok;
}

static int64_t nearest(int64_t o, int64_t in, int64_t out, float scale) {
    if (in == out) return o;  // whatever the factor says
    return cell_at(static_cast<float>(o) * scale, in - 1);
}

// out[y][x] = input[floor(y * scale)][floor(x * scale)] in every plane.
static Status upsample_nearest(Context& ctx, int32_t dims, const Tensor& input, const Resample& r,
                               Tensor& out) {
    PENLIGHT_TRY(expect_rank(ctx, "input", input, dims + 2, dims + 2));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, input.dtype));
    PENLIGHT_TRY(resize_spatial(ctx, input, dims, r.sizes, out));
    const Planes in = planes_of(input, dims), to = planes_of(out, dims);
    const float scale_y = resample_scale<float>(in.size[1], to.size[1], false, r.factor[0]);
    const float scale_x =
        resample_scale<float>(in.size[2], to.size[2], false, r.factor[dims == 1 ? 0 : 1]);
    with_word(item_size(input.dtype), [&](auto tag) {
        using Word = typename decltype(tag)::type;
        ctx.parallel_for(to.count(), grain_for(to.volume()), [&](int64_t first, int64_t last) {
            for (int64_t p = first; p < last; p++) {
                const Word* plane = input.ptr<Word>() + in.offset(p);
                Word* values = out.ptr<Word>() + to.offset(p);
                for (int64_t y = 0; y < to.size[1]; y++) {
                    const int64_t source =
                        dims == 1 ? 0 : nearest(y, in.size[1], to.size[1], scale_y);
                    const Word* row = plane + source * in.stride[1];
                    Word* target = values + y * to.stride[1];
                    for (int64_t x = 0; x < to.size[2]; x++) {
                        const int64_t from = nearest(x, in.size[2], to.size[2], scale_x);
                        target[x * to.stride[2]] = row[from * in.stride[2]];
                    }
                }
            }
        });
    });
    return Status::ok;
}

// The two cells that a position lies between, and the weight of the second.
template <class C> struct Between {
    int64_t low, high;
    C weight;

    Between(int64_t o, int64_t in, C scale, bool align_corners) {
        C at = align_corners ? static_cast<C>(o) * scale
                             : (static_cast<C>(o) + C(0.5)) * scale - C(0.5);
        at = at > 0 ? at : C{0};
        low = cell_at(at, in - 1);
        high = std::min(low + 1, in - 1);
        weight = std::clamp(at - static_cast<C>(low), C{0}, C{1});
    }
};

template <class T>
static void bilinear_planes(Context& ctx, const Tensor& input, const Resample& r,
                            bool align_corners, Tensor& out) {
    using C = PoolType<T>;
    const Planes in = planes_of(input, 2), to = planes_of(out, 2);
    // Equal sizes are copied, whatever the factor says.
    const double factor_y = in.size[1] == to.size[1] ? 1 : r.factor[0];
    const double factor_x = in.size[2] == to.size[2] ? 1 : r.factor[1];
    const C scale_y = resample_scale<C>(in.size[1], to.size[1], align_corners, factor_y);
    const C scale_x = resample_scale<C>(in.size[2], to.size[2], align_corners, factor_x);
    ctx.parallel_for(to.count(), grain_for(4 * to.volume()), [&](int64_t first, int64_t last) {
        // Columns in blocks: where each reads is worked out once for all rows and planes.
        constexpr int64_t block = 128;
        int64_t left[block], right[block];
        C weight[block];
        for (int64_t start = 0; start < to.size[2]; start += block) {
            const int64_t count = std::min(block, to.size[2] - start);
            for (int64_t x = 0; x < count; x++) {
                const Between<C> column(start + x, in.size[2], scale_x, align_corners);
                left[x] = column.low * in.stride[2];
                right[x] = column.high * in.stride[2];
                weight[x] = column.weight;
            }
            for (int64_t i = first * to.size[1]; i < last * to.size[1]; i++) {
                const int64_t p = i / to.size[1], y = i % to.size[1];
                const Between<C> row(y, in.size[1], scale_y, align_corners);
                const T* plane = input.ptr<T>() + in.offset(p);
                const T* above = plane + row.low * in.stride[1];
                const T* below = plane + row.high * in.stride[1];
                T* target = out.ptr<T>() + to.offset(p) + y * to.stride[1] + start * to.stride[2];
                for (int64_t x = 0; x < count; x++) {
                    const C v = weight[x], u = 1 - v;
                    const C a = u * convert<C>(above[left[x]]) + v * convert<C>(above[right[x]]);
                    const C b = u * convert<C>(below[left[x]]) + v * convert<C>(below[right[x]]);
                    target[x * to.stride[2]] = convert<T>((1 - row.weight) * a + row.weight * b);
                }
            }
        }
    });
}

static Status upsample_bilinear(Context& ctx, const Tensor& input, const Resample& r,
                                bool align_corners, Tensor& out) {
    PENLIGHT_TRY(expect_rank(ctx, "input", input, 4, 4));
    PENLIGHT_TRY(expect_dtype(ctx, "out", out, input.dtype));
    PENLIGHT_TRY(resize_spatial(ctx, input, 2, r.sizes, out));
    const bool known = visit_floating(input.dtype, [&](auto type) {
        bilinear_planes<typename decltype(type)::type>(ctx, input, r, align_corners, out);
    });
    if (known) return Status::ok;
    return ctx.fail("expected input of a floating dtype but got %s", dtype_name(input.dtype));
}

static Status upsample_nearest1d_out(Context& ctx, const Tensor& self, IntList output_size,
                                     std::optional<double> scales, Tensor& out) {
    Resample r;
    PENLIGHT_TRY(read_resample(ctx, 1, output_size, scales, {}, &r));
    return upsample_nearest(ctx, 1, self, r, out);
}

static Status upsample_nearest2d_out(Context& ctx, const Tensor& self, IntList output_size,
                                     std::optional<double> scales_h, std::optional<double> scales_w,
                                     Tensor& out) {
    Resample r;
    PENLIGHT_TRY(read_resample(ctx, 2, output_size, scales_h, scales_w, &r));
    return upsample_nearest(ctx, 2, self, r, out);
}

static Status upsample_nearest2d_vec_out(Context& ctx, const Tensor& input,
                                         std::optional<IntList> output_size,
                                         std::optional<RealList> scale_factors, Tensor& out) {
    Resample r;
    PENLIGHT_TRY(read_resample(ctx, input, output_size, scale_factors, &r));
    return upsample_nearest(ctx, 2, input, r, out);
}

static Status upsample_bilinear2d_out(Context& ctx, const Tensor& self, IntList output_size,
                                      bool align_corners, std::optional<double> scales_h,
                                      std::optional<double> scales_w, Tensor& out) {
    Resample r;
    PENLIGHT_TRY(read_resample(ctx, 2, output_size, scales_h, scales_w, &r));
    return upsample_bilinear(ctx, self, r, align_corners, out);
}

static Status upsample_bilinear2d_vec_out(Context& ctx, const Tensor& input,
                                          std::optional<IntList> output_size, bool align_corners,
                                          std::optional<RealList> scale_factors, Tensor& out) {
    Resample r;
    PENLIGHT_TRY(read_resample(ctx, input, output_size, scale_factors, &r));
    return upsample_bilinear(ctx, input, r, align_corners, out);
}

}  // namespace penlight::kernels
PENLIGHT_DEFINE_KERNEL(upsample_nearest1d_out)
PENLIGHT_DEFINE_KERNEL(upsample_nearest2d_out)
PENLIGHT_DEFINE_KERNEL(upsample_nearest2d_vec_out)
PENLIGHT_DEFINE_KERNEL(upsample_bilinear2d_out)
PENLIGHT_DEFINE_KERNEL(upsample_bilinear2d_vec_out)
