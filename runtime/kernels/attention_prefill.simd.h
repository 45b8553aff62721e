// Attention of many tokens: rows (token, head) of one cache head against chunks of keys, as matrix
// products whose tiles stay in the nearest cache (Dao et al., 2022: FlashAttention).

using kernels::attention_padded;

// The memory of one task, of attention_prefill_floats floats.
struct Work {
    float *keys, *values;  // [padded][chunk] and [chunk][padded]
    float *q, *acc;        // [rows][padded]
    float* scores;         // [tile_rows][chunk]
    float *sums, *maxima;  // [rows]
    float *q_scales, *key_scales;
};
Work work_in(float* scratch, int64_t padded) {
    Work w{};
    w.keys = scratch;
    w.values = w.keys + padded * attention_chunk;
    w.q = w.values + padded * attention_chunk;
    w.acc = w.q + attention_rows * padded;
    w.scores = w.acc + attention_rows * padded;
    w.key_scales = w.scores + kernels::attention_tile_rows * attention_chunk;
    w.q_scales = w.key_scales + attention_chunk;
    w.sums = w.q_scales + attention_rows;
    w.maxima = w.sums + attention_rows;
    return w;
}

template <class T> PENLIGHT_INLINE V load_padded(const T* p, int64_t n) {
    return n >= lanes ? load_from(p) : n > 0 ? load_some(p, n) : vzero();
}

#if defined(PENLIGHT_TARGET_AVX512)
// Queries and keys as integers of about 13 bits with one scale a row, which half precision's 11
// bits do not outdo: pairs of them multiply in half the time of floats, and their sums are exact.
constexpr int64_t widest_pairs = 256;
struct Levels {
    float q, key;
};
// So that dim products of the largest sum to less than 2^31.
PENLIGHT_INLINE Levels levels_for(int64_t dim) {
    int bits = 31;
    while ((int64_t{1} << (31 - bits)) < dim) bits--;
    return {static_cast<float>((1 << (bits / 2)) - 1),
            static_cast<float>((1 << (bits - bits / 2)) - 1)};
}
// to[p] = (x[2p], x[2p + 1]) as int16 levels; returns what one level is worth
template <class T>
PENLIGHT_INLINE float to_pairs(const T* x, int64_t dim, float levels, int64_t padded, V* to) {
    V most = vzero();
    for (int64_t d = 0; d < dim; d += lanes) most = vmax(most, vabs(load_padded(x + d, dim - d)));
    const float largest = vmax_of(most), inverse = largest > 0 ? levels / largest : 0;
    for (int64_t d = 0; d < padded; d += 2 * lanes) {
        const V low = vmul(load_padded(x + d, dim - d), vset(inverse));
        const V high = vmul(load_padded(x + d + lanes, dim - d - lanes), vset(inverse));
        const __m256i a = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(low));
        const __m256i b = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(high));
        *to++ = _mm512_castsi512_ps(_mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1));
    }
    return largest / levels;
}

template <class T>
void pack_keys(const T* from, int64_t stride, int64_t count, int64_t dim, const Work& w) {
    const int64_t padded = attention_padded(dim);
    const float levels = levels_for(dim).key;
    for (int64_t i = 0; i < count; i += lanes) {
        V rows[lanes][widest_pairs / 32];
        for (int64_t j = 0; j < lanes; j++) {
            const int64_t key = i + j < count ? i + j : count - 1;
            w.key_scales[i + j] = to_pairs(from + key * stride, dim, levels, padded, rows[j]);
        }
        for (int64_t d = 0; d < padded / 32; d++) {
            V block[lanes];
            for (int j = 0; j < lanes; j++) block[j] = rows[j][d];
            vtranspose(block);
            for (int j = 0; j < lanes; j++)
                vstore(w.keys + (d * 16 + j) * attention_chunk + i, block[j]);
        }
    }
}

void pack_query(const float* q, int64_t dim, int64_t row, const Work& w) {
    V pairs[widest_pairs / 32];
    const int64_t padded = attention_padded(dim);
    w.q_scales[row] = to_pairs(q, dim, levels_for(dim).q, padded, pairs);
    for (int64_t d = 0; d < padded / 32; d++) vstore(w.q + row * padded + d * 16, pairs[d]);
}

// As the instruction itself: with the intrinsic, GCC 12 copies every accumulator forth and back.
PENLIGHT_INLINE __m512i dot_pairs(__m512i acc, __m512i a, __m512i b) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
}

// scores[r][i] = q[r] . key[i] of R rows and two vectors of keys from `key` on
template <int R> void score_pairs(const Work& w, int64_t row, int64_t key, int64_t padded) {
    __m512i acc[R][2];
    for (int r = 0; r < R; r++) acc[r][0] = acc[r][1] = _mm512_setzero_si512();
    const float* q = w.q + row * padded;
    const float* keys = w.keys + key;
    for (int64_t p = 0; p < padded / 2; p++, keys += attention_chunk) {
        const __m512i first = _mm512_loadu_si512(keys), second = _mm512_loadu_si512(keys + 16);
        for (int r = 0; r < R; r++) {
            const __m512i pair = _mm512_castps_si512(vset(q[r * padded + p]));
            acc[r][0] = dot_pairs(acc[r][0], first, pair);
            acc[r][1] = dot_pairs(acc[r][1], second, pair);
        }
    }
    for (int r = 0; r < R; r++)
        for (int v = 0; v < 2; v++) {
            const V scale = vmul(vset(w.q_scales[row + r]), vload(w.key_scales + key + v * lanes));
            vstore(w.scores + r * attention_chunk + key + v * lanes,
                   vmul(_mm512_cvtepi32_ps(acc[r][v]), scale));
        }
}
#else
constexpr int64_t widest_pairs = 0;
template <class T> void pack_keys(const T*, int64_t, int64_t, int64_t, const Work&) {}
void pack_query(const float*, int64_t, int64_t, const Work&) {}
template <int R> void score_pairs(const Work&, int64_t, int64_t, int64_t) {}
#endif

// keys [d][i], transposed
template <class T>
void transpose_keys(const T* from, int64_t stride, int64_t count, int64_t dim, const Work& w) {
    for (int64_t i = 0; i < count; i += lanes)
        for (int64_t d = 0; d < dim; d += lanes) {
            V block[lanes];
            for (int64_t j = 0; j < lanes; j++)
                block[j] =
                    load_padded(from + (i + j < count ? i + j : count - 1) * stride + d, dim - d);
            vtranspose(block);
            for (int64_t j = 0; j < lanes; j++)
                vstore(w.keys + (d + j) * attention_chunk + i, block[j]);
        }
}

// values [i][padded]
template <class T>
void unpack_values(const T* from, int64_t stride, int64_t count, int64_t dim, const Work& w) {
    const int64_t padded = attention_padded(dim);
    for (int64_t i = 0; i < count; i++)
        for (int64_t d = 0; d < padded; d += lanes)
            vstore(w.values + i * padded + d, load_padded(from + i * stride + d, dim - d));
}

// acc[r] = acc[r] * correction[r] + sum_i weights[r][i] * value[i], R rows, two vectors from d on
template <int R>
void weigh_tile(const Work& w, int64_t row, int64_t d, int64_t padded, int64_t begin, int64_t end,
                const float* correction) {
    V sum[R][2];
    float* acc = w.acc + row * padded + d;
    for (int r = 0; r < R; r++)
        for (int v = 0; v < 2; v++)
            sum[r][v] = vmul(vload(acc + r * padded + v * lanes), vset(correction[r]));
    const float* value = w.values + begin * padded + d;
    for (int64_t i = begin; i < end; i++, value += padded) {
        const V first = vload(value), second = vload(value + lanes);
        for (int r = 0; r < R; r++) {
            const V weight = vset(w.scores[r * attention_chunk + i]);
            sum[r][0] = vfma(weight, first, sum[r][0]);
            sum[r][1] = vfma(weight, second, sum[r][1]);
        }
    }
    for (int r = 0; r < R; r++)
        for (int v = 0; v < 2; v++) vstore(acc + r * padded + v * lanes, sum[r][v]);
}

// R rows from `row` on of a task against the chunk of keys [first, first + count).
template <int R>
void attend(const Attention& a, const Work& w, int64_t first_row, int64_t row, int64_t first,
            int64_t count) {
    const int64_t padded = attention_padded(a.dim);
    int64_t begins[R], ends[R], begin = count, end = 0;
    for (int r = 0; r < R; r++) {
        const int64_t token = (first_row + row + r) / a.shared();
        begins[r] = a.first_key(token) - first;
        ends[r] = a.start + token + 1 - first;
        begins[r] = begins[r] < 0 ? 0 : begins[r];
        ends[r] = ends[r] < count ? ends[r] : count;
        if (begins[r] >= ends[r]) continue;
        begin = begins[r] < begin ? begins[r] : begin;
        end = ends[r] > end ? ends[r] : end;
    }
    if (begin >= end) return;
    for (int64_t key = begin / tile_cols * tile_cols; key < end; key += tile_cols) {
        if (a.dim <= widest_pairs)
            score_pairs<R>(w, row, key, padded);
        else
            gemm_tile_of<R>(w.q + row * padded, padded, w.keys + key, attention_chunk, a.dim,
                            w.scores + key, attention_chunk);
    }
    float correction[R];
    for (int r = 0; r < R; r++) {
        float sum, &most = w.maxima[row + r];
        const float before = most;
        most = softmax_row(a, begins[r], ends[r], before, w.scores + r * attention_chunk, &sum);
        correction[r] = before == most ? 1.0f : std::exp2(before - most);
        w.sums[row + r] = w.sums[row + r] * correction[r] + sum;
    }
    for (int64_t d = 0; d < padded; d += tile_cols)
        weigh_tile<R>(w, row, d, padded, begin, end, correction);
}

template <int R>
bool attend_step(const Attention& a, const Work& w, int64_t first_row, int64_t rows, int64_t first,
                 int64_t count, int64_t& row) {
    if (R > tile_rows || rows - row < R) return false;
    attend<R>(a, w, first_row, row, first, count);
    row += R;
    return true;
}

template <class T>
void prefill_of(const Attention& a, int64_t group, int64_t first_row, float* scratch) {
    const int64_t padded = attention_padded(a.dim), shared = a.shared();
    const int64_t left = a.tokens * shared - first_row, stride = a.groups * a.dim;
    const int64_t rows = left < attention_rows ? left : attention_rows;
    const Work w = work_in(scratch, padded);
    memset(w.acc, 0, static_cast<size_t>(rows * padded) * sizeof(float));
    for (int64_t r = 0; r < rows; r++) {
        const int64_t token = (first_row + r) / shared;
        const float* q =
            a.q + (token * a.heads + group * shared + (first_row + r) % shared) * a.dim;
        if (a.dim <= widest_pairs)
            pack_query(q, a.dim, r, w);
        else
            memcpy(w.q + r * padded, q, static_cast<size_t>(a.dim) * sizeof(float));
        w.sums[r] = 0;
        w.maxima[r] = -INFINITY;
    }
    const int64_t last = a.start + (first_row + rows - 1) / shared + 1;  // past all visible keys
    int64_t first = a.first_key(first_row / shared) / attention_chunk * attention_chunk;
    for (; first < last; first += attention_chunk) {
        const int64_t count = last - first < attention_chunk ? last - first : attention_chunk;
        const int64_t offset = first * stride + group * a.dim;
        const T* keys = static_cast<const T*>(a.keys) + offset;
        if (a.dim <= widest_pairs)
            pack_keys(keys, stride, count, a.dim, w);
        else
            transpose_keys(keys, stride, count, a.dim, w);
        unpack_values(static_cast<const T*>(a.values) + offset, stride, count, a.dim, w);
        for (int64_t r = 0; r < rows;)
            attend_step<tile_rows>(a, w, first_row, rows, first, count, r) ||
                attend_step<4>(a, w, first_row, rows, first, count, r) ||
                attend_step<1>(a, w, first_row, rows, first, count, r);
    }
    for (int64_t r = 0; r < rows; r++) {
        const int64_t token = (first_row + r) / shared;
        const int64_t head = group * shared + (first_row + r) % shared;
        float* out = a.out + (token * a.heads + head) * a.dim;
        for (int64_t d = 0; d < a.dim; d++) out[d] = w.acc[r * padded + d] / w.sums[r];
    }
}
void prefill(const Attention& a, int64_t group, int64_t first_row, float* scratch) {
    a.half ? prefill_of<uint16_t>(a, group, first_row, scratch)
           : prefill_of<float>(a, group, first_row, scratch);
}
