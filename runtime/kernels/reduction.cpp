#include "reduction.h"

#include <algorithm>

namespace penlight::kernels {

Status reduced_dims(Context& ctx, const Tensor& self, const std::optional<IntList>& dims,
                    uint32_t* mask) {
    if (!dims.has_value() || dims->size() == 0) {
        *mask = all_dims(self);
        return Status::ok;
    }
    PENLIGHT_TRY(wrap_dims(ctx, *dims, self.rank, mask));
    *mask &= all_dims(self);  // a 0-d tensor has a dim 0 to name, but none to reduce
    return Status::ok;
}

Status reduced_dim(Context& ctx, const Tensor& self, std::optional<int64_t> dim, uint32_t* mask) {
    *mask = all_dims(self);
    if (!dim.has_value()) return Status::ok;
    int32_t d;
    PENLIGHT_TRY(wrap_dim(ctx, *dim, self.rank, &d));
    *mask &= uint32_t{1} << d;
    return Status::ok;
}

namespace {

// Some dimensions of a tensor, outermost first.
struct Dims {
    int32_t rank = 0;
    int64_t count = 1;
    int64_t sizes[max_rank];
    int64_t strides[max_rank];

    void push(int64_t size, int64_t stride) {
        count *= size;
        if (size == 1) return;
        if (rank > 0 && strides[rank - 1] == size * stride) {
            sizes[rank - 1] *= size;
            strides[rank - 1] = stride;
        } else {
            sizes[rank] = size;
            strides[rank++] = stride;
        }
    }
    int64_t inner_size() const { return rank > 0 ? sizes[rank - 1] : 1; }
    int64_t inner_stride() const { return rank > 0 ? strides[rank - 1] : 0; }
    // Where the run that starts at a linear index lies, in elements.
    int64_t offset(int64_t linear) const {
        int64_t result = 0;
        for (int32_t d = rank - 1; d >= 0; d--) {
            result += linear % sizes[d] * strides[d];
            linear /= sizes[d];
        }
        return result;
    }
};

struct Output {
    std::byte* data = nullptr;
    StoreFunction store = nullptr;
    size_t item = 0;
    Dims dims;  // one for each kept dimension of the input, in row-major order
};

// body(first, count, offset) over linear indices [begin, end), cut where the innermost ends.
template <class F> void for_runs(const Dims& dims, int64_t begin, int64_t end, const F& body) {
    const int64_t inner = dims.inner_size();
    while (begin < end) {
        const int64_t run = std::min(inner - begin % inner, end - begin);
        body(begin, run, dims.offset(begin));
        begin += run;
    }
}

class Reduction {
  public:
    Reduction(const Reducer& r, const ReductionArguments& a) : reducer(r), arguments(a) {}

    const Reducer& reducer;
    const ReductionArguments& arguments;
    Dims kept, reduced;
    Output values, indices;
    LoadFunction load = nullptr;
    size_t item = 0;

    void run(int64_t begin, int64_t end) const {
        const int64_t far = reduced.inner_stride();
        const int64_t near = kept.inner_stride();
        const bool in_lanes = kept.count > 1 && near != 0 && near < far;
        for_runs(kept, begin, end, [&](int64_t first, int64_t count, int64_t offset) {
            for (int64_t i = 0; i < count;) {
                const int64_t n = std::min(in_lanes ? max_lanes : 1, count - i);
                result(first + i, n, offset + i * near);
                i += n;
            }
        });
    }

  private:
    static constexpr int64_t block_size = 512;

    // Results [first, first + n), neighbours in memory.
    void result(int64_t first, int64_t n, int64_t offset) const {
        alignas(64) std::byte states[max_lanes * 32];
        alignas(64) std::byte block[block_size * 8];
        reducer.begin(states, n);
        const std::byte* base = static_cast<const std::byte*>(arguments.self.data);
        const auto bytes = static_cast<int64_t>(item);
        const int64_t stride = reduced.inner_stride();
        for_runs(reduced, 0, reduced.count, [&](int64_t index, int64_t count, int64_t at) {
            const std::byte* from = base + (offset + at) * bytes;
            if (n == 1) {
                for (int64_t i = 0; i < count; i += block_size) {
                    const int64_t m = std::min(block_size, count - i);
                    reducer.fold_run(states, read(from + i * stride * bytes, stride, m, block), m,
                                     index + i);
                }
                return;
            }
            for (int64_t i = 0; i < count; i++) {
                const std::byte* lanes = from + i * stride * bytes;
                reducer.fold_lanes(states, read(lanes, kept.inner_stride(), n, block), n,
                                   index + i);
            }
        });
        int64_t found[max_lanes];
        reducer.finish(states, n, reduced.count, arguments.parameter, block, found);
        write(values, first, n, block, compute_size(arguments.compute));
        write(indices, first, n, found, sizeof(int64_t));
    }

    const void* read(const std::byte* from, int64_t stride, int64_t count, void* block) const {
        if (stride == 1 && arguments.self.dtype == compute_dtype(arguments.compute)) return from;
        load(from, stride, count, block);
        return block;
    }

    static void write(const Output& out, int64_t first, int64_t n, const void* from, size_t size) {
        if (out.data == nullptr) return;
        for_runs(out.dims, first, first + n, [&](int64_t begin, int64_t count, int64_t offset) {
            const std::byte* part =
                static_cast<const std::byte*>(from) + static_cast<size_t>(begin - first) * size;
            const int64_t stride = out.dims.rank > 0 ? out.dims.inner_stride() : 1;
            out.store(part, stride, count, out.data + offset * static_cast<int64_t>(out.item));
        });
    }
};

Status open_output(Context& ctx, const ReductionArguments& a, Compute c, Tensor* out,
                   Output* opened) {
    if (out == nullptr) return Status::ok;
    int64_t sizes[max_rank];
    int32_t rank = 0;
    for (int32_t d = 0; d < a.self.rank; d++) {
        const bool gone = a.dims >> d & 1;
        if (!gone || a.keepdim) sizes[rank++] = gone ? 1 : a.self.sizes[d];
    }
    PENLIGHT_TRY(resize(ctx, *out, rank, sizes));
    opened->store = store_function(c, out->dtype);
    if (opened->store == nullptr) {
        return ctx.fail("expected a known dtype but got code %d", out->dtype);
    }
    opened->data = out->ptr<std::byte>();
    opened->item = item_size(out->dtype);
    for (int32_t d = 0; d < rank; d++) opened->dims.push(out->sizes[d], out->strides[d]);
    return Status::ok;
}

}  // namespace

Status reduce(Context& ctx, const Reducer& reducer, const ReductionArguments& arguments) {
    const Tensor& self = arguments.self;
    Reduction r(reducer, arguments);
    r.load = load_function(arguments.compute, self.dtype);
    r.item = item_size(self.dtype);
    if (r.load == nullptr) return ctx.fail("expected a known dtype but got code %d", self.dtype);
    for (int32_t d = 0; d < self.rank; d++) {
        Dims& dims = arguments.dims >> d & 1 ? r.reduced : r.kept;
        dims.push(self.sizes[d], self.strides[d]);
    }
    PENLIGHT_TRY(open_output(ctx, arguments, arguments.compute, arguments.values, &r.values));
    PENLIGHT_TRY(open_output(ctx, arguments, Compute::i64, arguments.indices, &r.indices));
    if (r.kept.count == 0) return Status::ok;
    if (r.reduced.count == 0 && arguments.needs_elements) {
        return ctx.fail("expected at least one element to reduce but got shape %s",
                        ShapeText(self).text);
    }
    const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, r.reduced.count));
    ctx.parallel_for(r.kept.count, grain, [&](int64_t begin, int64_t end) { r.run(begin, end); });
    return Status::ok;
}

}  // namespace penlight::kernels
