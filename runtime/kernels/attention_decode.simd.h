// Attention of a few tokens: every query row (token, head) of a cache head against one chunk of its
// keys and values, which are read once and in order, because memory is the limit.

#if defined(PENLIGHT_TARGET_AVX512) || defined(PENLIGHT_TARGET_NEON)
constexpr int decode_rows = 4;  // 16 accumulators of 32 registers
#else
constexpr int decode_rows = 3;  // 12 of 16
#endif
// Rows whose scores are kept at once.
constexpr int64_t band_rows = 32;
// Values are taken this many at a time, by some rows after the others.
constexpr int64_t value_block = 16;
// What is needed this many positions later is asked for now, a little at a time.
constexpr int64_t ahead = 32;
struct Walk {
    int64_t width;  // from a position to the next
    bool near;      // asks into the nearest cache, else into the second one
};
template <class T> PENLIGHT_INLINE void prefetch(const T* position, int64_t d, Walk walk) {
    constexpr int64_t line = 64 / sizeof(T);
    if (2 * lanes < line && d % line != 0) return;
    const T* later = position + d + ahead * walk.width;
    walk.near ? __builtin_prefetch(later, 0, 3) : __builtin_prefetch(later, 0, 2);
}

// scores[r][i] = q[r] . key[i] for `lanes` keys, without their scales; past `count` keys the last
// one is repeated.
template <int R, class T>
PENLIGHT_INLINE void score_block(const float* const* q, const T* keys, Walk walk, int64_t count,
                                 int64_t dim, float* scores) {
    V part[R][lanes / quad];
    for (int b = 0; b < lanes / quad; b++) {
        const T* key[quad];
        for (int j = 0; j < quad; j++) {
            const int64_t i = b * quad + j;
            key[j] = keys + (i < count ? i : count - 1) * walk.width;
        }
        V acc[R][quad];
        for (int r = 0; r < R; r++)
            for (int j = 0; j < quad; j++) acc[r][j] = vzero();
        int64_t d = 0;
        for (; d + lanes <= dim; d += lanes) {
            for (int j = 0; j < quad; j++) {
                const V k = load_from(key[j] + d);
                prefetch(key[j], d, walk);
                for (int r = 0; r < R; r++) acc[r][j] = vfma(vload(q[r] + d), k, acc[r][j]);
            }
        }
        if (d < dim) {
            V k[quad];
            for (int j = 0; j < quad; j++) k[j] = load_some(key[j] + d, dim - d);
            for (int r = 0; r < R; r++) {
                const V x = vload_n(q[r] + d, dim - d);
                for (int j = 0; j < quad; j++) acc[r][j] = vfma(x, k[j], acc[r][j]);
            }
        }
        for (int r = 0; r < R; r++) part[r][b] = vquad(acc[r]);
    }
    for (int r = 0; r < R; r++) vstore(scores + r * attention_chunk, vsums(part[r]));
}

// to[r][d] += sum_i weights[r][i] * value[i][d] for N vectors of d
template <int R, int N, class T>
PENLIGHT_INLINE void weigh_columns(const float* weights, const T* values, Walk walk, int64_t count,
                                   int64_t dim, float* const* to, int64_t d) {
    V acc[R][N];
    for (int r = 0; r < R; r++)
        for (int n = 0; n < N; n++) acc[r][n] = vload(to[r] + d + n * lanes);
    const T* value = values + d;
    for (int64_t i = 0; i < count; i++, value += walk.width) {
        V w[R];
        for (int r = 0; r < R; r++) {
            w[r] = vset(weights[r * attention_chunk + i]);
            if constexpr (scaled<T>) w[r] = vmul(w[r], vset(scale_of(value - d, dim)));
        }
        for (int n = 0; n < N; n++) {
            const V v = load_from(value + n * lanes);
            prefetch(value, n * lanes, walk);
            for (int r = 0; r < R; r++) acc[r][n] = vfma(w[r], v, acc[r][n]);
        }
    }
    for (int r = 0; r < R; r++)
        for (int n = 0; n < N; n++) vstore(to[r] + d + n * lanes, acc[r][n]);
}

template <int R, class T>
PENLIGHT_INLINE void weigh_rows(const float* weights, const T* values, Walk walk, int64_t count,
                                int64_t dim, float* const* to) {
    int64_t d = 0;
    for (; d + 4 * lanes <= dim; d += 4 * lanes)
        weigh_columns<R, 4>(weights, values, walk, count, dim, to, d);
    for (; d + lanes <= dim; d += lanes)
        weigh_columns<R, 1>(weights, values, walk, count, dim, to, d);
    if (d == dim) return;
    V acc[R];
    for (int r = 0; r < R; r++) acc[r] = vload_n(to[r] + d, dim - d);
    for (int64_t i = 0; i < count; i++) {
        const V v = load_padded(values + i * walk.width, d, dim);
        for (int r = 0; r < R; r++)
            acc[r] = vfma(vset(weights[r * attention_chunk + i]), v, acc[r]);
    }
    for (int r = 0; r < R; r++) vstore_n(to[r] + d, acc[r], dim - d);
}

// One chunk of keys of one cache head.
struct Chunk {
    const void *keys, *values;
    int64_t group, first, count;
    float* partial;  // [token][head][record]
};

// Row `row` (token, head) of a cache head: where its query lies, and the keys in the chunk that it
// sees.
struct Row {
    const float* q;
    float* partial;
    int64_t begin, end;
};
Row row_of(const Attention& a, const Chunk& c, int64_t row) {
    const int64_t token = row / a.shared(), head = c.group * a.shared() + row % a.shared();
    const int64_t at = token * a.heads + head;
    int64_t begin = a.first_key(token) - c.first, end = a.start + token + 1 - c.first;
    begin = begin < 0 ? 0 : begin;
    end = end < c.count ? end : c.count;
    if (begin >= end) begin = end = 0;
    return {a.q + at * a.dim, c.partial + at * a.record(), begin, end};
}

// Scores of R rows and `lanes` keys from `key` on; of int8 rows without their scales.
template <int R, class T>
void score_rows(const Attention& a, const Chunk& c, int64_t key, const float* const* q,
                float* scores) {
    const T* keys = static_cast<const T*>(c.keys) + key * a.width;
    score_block<R>(q, keys, Walk{a.width, a.prefetch_near}, c.count - key, a.dim, scores + key);
}
template <class T>
void score_tile(int rows, const Attention& a, const Chunk& c, int64_t key, const float* const* q,
                float* scores) {
    if (rows == 1) return score_rows<1, T>(a, c, key, q, scores);
    if (rows == 2) return score_rows<2, T>(a, c, key, q, scores);
    if (rows == 3) return score_rows<3, T>(a, c, key, q, scores);
    if constexpr (decode_rows > 3) score_rows<4, T>(a, c, key, q, scores);
}

// scores[r][i] *= the scale of key i for i in [begin, end), and whole vectors around it
void scale_scores(const Attention& a, const Chunk& c, int64_t begin, int64_t end, int rows,
                  float* scores) {
    const auto* keys = static_cast<const int8_t*>(c.keys);
    for (int64_t i = begin / lanes * lanes; i < end; i += lanes) {
        float scales[lanes];
        for (int64_t j = 0; j < lanes; j++)
            scales[j] = scale_of(keys + (i + j < c.count ? i + j : c.count - 1) * a.width, a.dim);
        for (int r = 0; r < rows; r++) {
            float* to = scores + r * attention_chunk + i;
            vstore(to, vmul(vload(to), vload(scales)));
        }
    }
}

// Adds `count` values from `key` on, weighed, to the results of R rows.
template <int R, class T>
void sum_rows(const Attention& a, const Chunk& c, int64_t key, int64_t count, const Row* rows,
              const float* weights) {
    float* to[R];
    for (int r = 0; r < R; r++) to[r] = rows[r].partial;
    const T* values = static_cast<const T*>(c.values) + key * a.width;
    weigh_rows<R>(weights + key, values, Walk{a.width, a.prefetch_near}, count, a.dim, to);
}
template <class T>
void sum_tile(int count, const Attention& a, const Chunk& c, int64_t key, int64_t values,
              const Row* rows, const float* weights) {
    if (count == 1) return sum_rows<1, T>(a, c, key, values, rows, weights);
    if (count == 2) return sum_rows<2, T>(a, c, key, values, rows, weights);
    if (count == 3) return sum_rows<3, T>(a, c, key, values, rows, weights);
    if constexpr (decode_rows > 3) sum_rows<4, T>(a, c, key, values, rows, weights);
}

// Rows [first, first + count) of the cache head.
template <class T> void decode_band(const Attention& a, const Chunk& c, int64_t first, int count) {
    alignas(64) float scores[band_rows * attention_chunk];
    const float* q[band_rows];
    Row rows[band_rows];
    // Of one size as far as they can be: 2 and 2 rows take less time than 3 and 1.
    const int tiles = (count + decode_rows - 1) / decode_rows, tile = (count + tiles - 1) / tiles;
    int64_t begin = c.count, end = 0;
    for (int i = 0; i < count; i++) {
        rows[i] = row_of(a, c, first + i);
        q[i] = rows[i].q;
        if (rows[i].end > 0) begin = rows[i].begin < begin ? rows[i].begin : begin;
        end = rows[i].end > end ? rows[i].end : end;
    }
    for (int64_t key = begin / lanes * lanes; key < end; key += lanes)
        for (int i = 0; i < count; i += tile)
            score_tile<T>(count - i < tile ? count - i : tile, a, c, key, q + i,
                          scores + i * attention_chunk);
    if constexpr (scaled<T>) scale_scores(a, c, begin, end, count, scores);
    for (int i = 0; i < count; i++) {
        float* record = rows[i].partial + a.record() - 2;
        record[0] = softmax_row(a, rows[i].begin, rows[i].end, -INFINITY,
                                scores + i * attention_chunk, record + 1);
        memset(rows[i].partial, 0, static_cast<size_t>(a.dim) * sizeof(float));
    }
    for (int64_t key = begin; key < end; key += value_block)
        for (int i = 0; i < count; i += tile)
            sum_tile<T>(count - i < tile ? count - i : tile, a, c, key,
                        end - key < value_block ? end - key : value_block, rows + i,
                        scores + i * attention_chunk);
}

template <class T> void decode_chunk_of(const Attention& a, int64_t group, int64_t chunk) {
    Chunk c{};
    c.group = group;
    c.first = (a.first_chunk + chunk) * attention_chunk;
    c.count = a.end() - c.first < attention_chunk ? a.end() - c.first : attention_chunk;
    c.keys = static_cast<const T*>(a.keys) + a.row(group, c.first);
    c.values = static_cast<const T*>(a.values) + a.row(group, c.first);
    c.partial = a.partial + chunk * a.tokens * a.heads * a.record();
    const int64_t rows = a.tokens * a.shared();
    for (int64_t i = 0; i < rows; i += band_rows)
        decode_band<T>(a, c, i, static_cast<int>(rows - i < band_rows ? rows - i : band_rows));
}
void decode_chunk(const Attention& a, int64_t group, int64_t chunk) {
    if (a.cache == PENLIGHT_INT8) return decode_chunk_of<int8_t>(a, group, chunk);
    if (a.cache == PENLIGHT_HALF) return decode_chunk_of<uint16_t>(a, group, chunk);
    decode_chunk_of<float>(a, group, chunk);
}

// One row's result from its chunks, in order.
void merge(const Attention& a, int64_t row) {
    const int64_t record = a.record(), step = a.tokens * a.heads * record;
    const float* chunks = a.partial + row * record;
    const float* last = chunks + record - 2;  // maximum, sum
    float* out = a.out + row * a.dim;
    float most = -INFINITY, sum = 0;
    for (int64_t c = 0; c < a.chunks; c++) most = last[c * step] > most ? last[c * step] : most;
    for (int64_t c = 0; c < a.chunks; c++)
        sum += last[c * step + 1] * std::exp2(last[c * step] - most);
    memset(out, 0, static_cast<size_t>(a.dim) * sizeof(float));
    for (int64_t c = 0; c < a.chunks; c++) {
        if (last[c * step] == -INFINITY) continue;
        const float factor = std::exp2(last[c * step] - most) / sum;
        const float* p = chunks + c * step;
        int64_t d = 0;
        for (; d + lanes <= a.dim; d += lanes)
            vstore(out + d, vfma(vload(p + d), vset(factor), vload(out + d)));
        if (d < a.dim)
            vstore_n(out + d,
                     vfma(vload_n(p + d, a.dim - d), vset(factor), vload_n(out + d, a.dim - d)),
                     a.dim - d);
    }
}
