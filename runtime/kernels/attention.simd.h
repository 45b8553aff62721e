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

// scores[r][i] = q[r] . key[i]; scores are attention_chunk apart
template <int R, class T>
void score_rows(const float* q, int64_t q_stride, const T* keys, int64_t key_stride, int64_t count,
                int64_t dim, float* scores) {
    const int64_t whole = dim / lanes * lanes;
    for (int64_t i = 0; i < count; i++, keys += key_stride) {
        V acc[R];
        for (int r = 0; r < R; r++) acc[r] = vzero();
        for (int64_t d = 0; d < whole; d += lanes) {
            V k = load_from(keys + d);
            for (int r = 0; r < R; r++) acc[r] = vfma(vload(q + r * q_stride + d), k, acc[r]);
        }
        if (whole < dim) {
            V k = load_some(keys + whole, dim - whole);
            for (int r = 0; r < R; r++)
                acc[r] = vfma(vload_n(q + r * q_stride + whole, dim - whole), k, acc[r]);
        }
        for (int r = 0; r < R; r++) scores[r * attention_chunk + i] = vsum(acc[r]);
    }
}

// out[r][d] = sum_i weights[r][i] * value[i][d]
template <int R, int N, class T>
void weigh_columns(const float* weights, const T* values, int64_t value_stride, int64_t count,
                   float* out, int64_t out_stride) {
    V acc[R][N];
    for (int r = 0; r < R; r++)
        for (int n = 0; n < N; n++) acc[r][n] = vzero();
    for (int64_t i = 0; i < count; i++, values += value_stride) {
        V v[N];
        for (int n = 0; n < N; n++) v[n] = load_from(values + n * lanes);
        for (int r = 0; r < R; r++) {
            V w = vset(weights[r * attention_chunk + i]);
            for (int n = 0; n < N; n++) acc[r][n] = vfma(w, v[n], acc[r][n]);
        }
    }
    for (int r = 0; r < R; r++)
        for (int n = 0; n < N; n++) vstore(out + r * out_stride + n * lanes, acc[r][n]);
}

template <int R, class T>
void weigh_rows(const float* weights, const T* values, int64_t value_stride, int64_t count,
                int64_t dim, float* out, int64_t out_stride) {
    int64_t d = 0;
    for (; d + 4 * lanes <= dim; d += 4 * lanes)
        weigh_columns<R, 4>(weights, values + d, value_stride, count, out + d, out_stride);
    for (; d + lanes <= dim; d += lanes)
        weigh_columns<R, 1>(weights, values + d, value_stride, count, out + d, out_stride);
    for (; d < dim; d++)
        for (int r = 0; r < R; r++) {
            float acc = 0;
            for (int64_t i = 0; i < count; i++) {
                T one[lanes] = {values[i * value_stride + d]};
                float first[lanes];
                vstore(first, load_from(one));
                acc += weights[r * attention_chunk + i] * first[0];
            }
            out[r * out_stride + d] = acc;
        }
}

// Scores of one row, visible in [begin, end), to weights e^(s - max); elsewhere 0. Returns the
// maximum, and the weights' sum; with nothing visible -infinity and 0.
float softmax_row(const Attention& a, int64_t begin, int64_t end, float* scores, float* sum) {
    for (int64_t i = 0; i < begin; i++) scores[i] = -3e38f;
    for (int64_t i = end > begin ? end : begin; i < attention_chunk; i++) scores[i] = -3e38f;
    *sum = 0;
    if (begin >= end) {
        memset(scores, 0, attention_chunk * sizeof(float));
        return -INFINITY;
    }
    const V scale = vset(a.scale);
    V most = vset(-3e38f);
    for (int64_t i = begin / lanes * lanes; i < end; i += lanes) {
        V s = vmul(vload(scores + i), scale);
        if (a.softcap > 0) {  // cap * tanh(s / cap), tanh x = 1 - 2 / (1 + e^2x)
            V e = vexp(vmul(s, vset(2.0f / a.softcap)));
            V t = vsub(vset(1.0f), vdiv(vset(2.0f), vadd(vset(1.0f), e)));
            s = vmul(t, vset(a.softcap));
        }
        vstore(scores + i, s);
    }
    for (int64_t i = begin / lanes * lanes; i < begin; i++) scores[i] = -3e38f;
    for (int64_t i = end; i % lanes != 0; i++) scores[i] = -3e38f;
    for (int64_t i = begin / lanes * lanes; i < end; i += lanes)
        most = vmax(most, vload(scores + i));
    const float maximum = vmax_of(most);
    V total = vzero();
    for (int64_t i = 0; i < attention_chunk; i += lanes) {
        alignas(64) float weight[lanes];
        if (i + lanes <= begin || i >= end) {
            vstore(scores + i, vzero());
            continue;
        }
        vstore(weight, vexp(vsub(vload(scores + i), vset(maximum))));
        for (int64_t j = i; j < begin; j++) weight[j - i] = 0;
        for (int64_t j = end > i ? end : i; j < i + lanes; j++) weight[j - i] = 0;
        total = vadd(total, vload(weight));
        vstore(scores + i, vload(weight));
    }
    *sum = vsum(total);
    return maximum;
}

// ---- decoding: all heads of one chunk of keys ----

template <int R, class T>
void decode_rows(const Attention& a, int64_t token, int64_t head, const T* keys, const T* values,
                 int64_t first, int64_t count, float* partial) {
    const int64_t stride = a.groups * a.dim, record = a.dim + 2;
    alignas(64) float scores[R * attention_chunk];
    score_rows<R>(a.q + (token * a.heads + head) * a.dim, a.dim, keys, stride, count, a.dim,
                  scores);
    int64_t begin = a.first_key(token) - first, end = a.start + token + 1 - first;
    begin = begin < 0 ? 0 : begin < count ? begin : count;
    end = end < 0 ? 0 : end < count ? end : count;
    partial += (token * a.heads + head) * record;
    for (int r = 0; r < R; r++)
        partial[r * record] =
            softmax_row(a, begin, end, scores + r * attention_chunk, partial + r * record + 1);
    weigh_rows<R>(scores, values, stride, count, a.dim, partial + 2, record);
}

template <class T> void decode_chunk_of(const Attention& a, int64_t chunk) {
    const int64_t first = (a.first_chunk + chunk) * attention_chunk, stride = a.groups * a.dim;
    const int64_t left = a.end() - first;
    const int64_t count = left < attention_chunk ? left : attention_chunk;
    float* partial = a.partial + chunk * a.tokens * a.heads * (a.dim + 2);
    for (int64_t g = 0; g < a.groups; g++) {
        const T* keys = static_cast<const T*>(a.keys) + first * stride + g * a.dim;
        const T* values = static_cast<const T*>(a.values) + first * stride + g * a.dim;
        for (int64_t t = 0; t < a.tokens; t++) {
            int64_t h = g * a.shared();
            const int64_t last = h + a.shared();
            for (; h + 4 <= last; h += 4)
                decode_rows<4>(a, t, h, keys, values, first, count, partial);
            if (last - h == 3) decode_rows<3>(a, t, h, keys, values, first, count, partial);
            if (last - h == 2) decode_rows<2>(a, t, h, keys, values, first, count, partial);
            if (last - h == 1) decode_rows<1>(a, t, h, keys, values, first, count, partial);
        }
    }
}
void decode_chunk(const Attention& a, int64_t chunk) {
    a.half ? decode_chunk_of<uint16_t>(a, chunk) : decode_chunk_of<float>(a, chunk);
}

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
        correction[r] = maxima[r] == -INFINITY ? 0.0f : std::exp(maxima[r] - most);
        const float own = maximum == -INFINITY ? 0.0f : std::exp(maximum - most);
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

const kernels::AttentionCore attention_core{decode_chunk, prefill};
