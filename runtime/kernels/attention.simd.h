// The arithmetic of attention.h.
#include "gemm.simd.h"

using kernels::Attention;
using kernels::attention_chunk;
using kernels::attention_rows;

PENLIGHT_INLINE V load_from(const float* p) { return vload(p); }
PENLIGHT_INLINE V load_from(const uint16_t* p) { return vload_half(p); }
template <class T> PENLIGHT_INLINE V load_some(const T* p, int64_t n) {
    T padded[lanes] = {};
    memcpy(padded, p, static_cast<size_t>(n) * sizeof(T));
    return load_from(padded);
}

// Scores of one row, visible in [begin, end), to weights 2^(s - max) with s in units of ln 2;
// elsewhere 0. Returns the maximum, and the weights' sum; with nothing visible -infinity and 0.
float softmax_row(const Attention& a, int64_t begin, int64_t end, float* scores, float* sum) {
    constexpr float lowest = -3e38f, log2_e = 1.44269504f;
    *sum = 0;
    if (begin >= end) {
        memset(scores, 0, attention_chunk * sizeof(float));
        return -INFINITY;
    }
    const int64_t first = begin / lanes * lanes, last = (end + lanes - 1) / lanes * lanes;
    const V scale = vset(a.softcap > 0 ? 2 * a.scale / a.softcap : a.scale * log2_e);
    for (int64_t i = first; i < last; i += lanes) {
        V s = vmul(vload(scores + i), scale);
        if (a.softcap > 0) {  // cap * tanh(s / cap), tanh x = 1 - 2 / (1 + e^2x)
            const V t = vsub(vset(1.0f), vdiv(vset(2.0f), vadd(vset(1.0f), vexp(s))));
            s = vmul(t, vset(a.softcap * log2_e));
        }
        vstore(scores + i, s);
    }
    for (int64_t i = first; i < begin; i++) scores[i] = lowest;
    for (int64_t i = end; i < last; i++) scores[i] = lowest;
    V most = vset(lowest);
    for (int64_t i = first; i < last; i += lanes) most = vmax(most, vload(scores + i));
    const float maximum = vmax_of(most);
    for (int64_t i = first; i < last; i += lanes)
        vstore(scores + i, vexp2(vsub(vload(scores + i), vset(maximum))));
    for (int64_t i = 0; i < begin; i++) scores[i] = 0;
    for (int64_t i = end; i < attention_chunk; i++) scores[i] = 0;
    V total = vzero();
    for (int64_t i = first; i < last; i += lanes) total = vadd(total, vload(scores + i));
    *sum = vsum(total);
    return maximum;
}

#include "attention_decode.simd.h"

// ---- prefill: rows (token, head) of one cache head as matrix products ----

// to[i][padded] = row i as float, and, if transposed, to[d][attention_chunk] instead
template <class T>
void unpack_chunk(const T* from, int64_t stride, int64_t count, int64_t dim, bool transposed,
                  float* to) {
    const int64_t padded = kernels::attention_padded(dim);
    for (int64_t i = 0; i < attention_chunk; i++) {
        for (int64_t d = 0; d < padded; d += lanes) {
            int64_t n = i < count ? dim - d : 0;
            V v = n >= lanes ? load_from(from + i * stride + d)
                  : n > 0    ? load_some(from + i * stride + d, n)
                             : vzero();
            if (!transposed) {
                vstore(to + i * padded + d, v);
                continue;
            }
            float line[lanes];
            vstore(line, v);
            for (int j = 0; j < lanes; j++) to[(d + j) * attention_chunk + i] = line[j];
        }
    }
}

// Add one chunk to rows' running maximum, sum and weighted values.
void merge_rows(const Attention& a, int64_t group, int64_t first_row, int64_t rows, int64_t first,
                int64_t count, float* weights, const float* values, float* product, float* sums,
                float* maxima, float* acc) {
    const int64_t padded = kernels::attention_padded(a.dim), shared = a.shared();
    float correction[attention_rows];
    (void)group;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t token = (first_row + r) / shared;
        int64_t begin = a.first_key(token) - first, end = a.start + token + 1 - first;
        begin = begin < 0 ? 0 : begin < count ? begin : count;
        end = end < 0 ? 0 : end < count ? end : count;
        float sum;
        float* row = weights + r * attention_chunk;
        const float maximum = softmax_row(a, begin, end, row, &sum);
        const float most = maximum > maxima[r] ? maximum : maxima[r];
        // e^(old - new) for the running values, e^(chunk - new) for this chunk's
        correction[r] = maxima[r] == -INFINITY ? 0.0f : std::exp2(maxima[r] - most);
        const float own = maximum == -INFINITY ? 0.0f : std::exp2(maximum - most);
        if (own != 1.0f)
            for (int64_t i = 0; i < attention_chunk; i += lanes)
                vstore(row + i, vmul(vload(row + i), vset(own)));
        sums[r] = sums[r] * correction[r] + sum * own;
        maxima[r] = most;
    }
    for (int64_t d = 0; d < padded; d += tile_cols)
        for (int64_t r = 0; r < rows; r += tile_rows) {
            int height = static_cast<int>(rows - r < tile_rows ? rows - r : tile_rows);
            gemm_tile(height, weights + r * attention_chunk, attention_chunk, values + d, padded,
                      count, product + r * padded + d, padded);
        }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t d = 0; d < padded; d += lanes) {
            float* to = acc + r * padded + d;
            vstore(to, vfma(vload(to), vset(correction[r]), vload(product + r * padded + d)));
        }
}

template <class T>
void prefill_of(const Attention& a, int64_t group, int64_t first_row, float* scratch) {
    const int64_t padded = kernels::attention_padded(a.dim), shared = a.shared();
    const int64_t left = a.tokens * shared - first_row, stride = a.groups * a.dim;
    const int64_t rows = left < attention_rows ? left : attention_rows;
    float* keys = scratch;                               // [padded][chunk]
    float* values = keys + padded * attention_chunk;     // [chunk][padded]
    float* product = values + padded * attention_chunk;  // [rows][padded]
    float* acc = product + attention_rows * padded;      // [rows][padded]
    float* weights = acc + attention_rows * padded;      // [rows][chunk]
    float* sums = weights + attention_rows * attention_chunk;
    float* maxima = sums + attention_rows;
    float* q = maxima + attention_rows;  // [rows][dim]
    memset(acc, 0, static_cast<size_t>(rows * padded) * sizeof(float));
    for (int64_t r = 0; r < rows; r++) {
        const int64_t token = (first_row + r) / shared,
                      head = group * shared + (first_row + r) % shared;
        memcpy(q + r * a.dim, a.q + (token * a.heads + head) * a.dim,
               static_cast<size_t>(a.dim) * sizeof(float));
        sums[r] = 0;
        maxima[r] = -INFINITY;
    }
    const int64_t last =
        a.start + (first_row + rows - 1) / shared + 1;  // past the last visible key
    int64_t first = a.first_key(first_row / shared) / attention_chunk * attention_chunk;
    for (; first < last; first += attention_chunk) {
        const int64_t count = last - first < attention_chunk ? last - first : attention_chunk;
        const int64_t offset = first * stride + group * a.dim;
        unpack_chunk(static_cast<const T*>(a.keys) + offset, stride, count, a.dim, true, keys);
        unpack_chunk(static_cast<const T*>(a.values) + offset, stride, count, a.dim, false, values);
        for (int64_t i = 0; i < count; i += tile_cols)
            for (int64_t r = 0; r < rows; r += tile_rows) {
                int height = static_cast<int>(rows - r < tile_rows ? rows - r : tile_rows);
                gemm_tile(height, q + r * a.dim, a.dim, keys + i, attention_chunk, a.dim,
                          weights + r * attention_chunk + i, attention_chunk);
            }
        merge_rows(a, group, first_row, rows, first, count, weights, values, product, sums, maxima,
                   acc);
    }
    for (int64_t r = 0; r < rows; r++) {
        const int64_t token = (first_row + r) / shared,
                      head = group * shared + (first_row + r) % shared;
        float* out = a.out + (token * a.heads + head) * a.dim;
        for (int64_t d = 0; d < a.dim; d++) out[d] = acc[r * padded + d] / sums[r];
    }
}
void prefill(const Attention& a, int64_t group, int64_t first_row, float* scratch) {
    a.half ? prefill_of<uint16_t>(a, group, first_row, scratch)
           : prefill_of<float>(a, group, first_row, scratch);
}

const kernels::AttentionCore attention_core{decode_chunk, merge, prefill};
