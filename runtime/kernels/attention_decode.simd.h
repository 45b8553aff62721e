// Attention of a few tokens: every query row (token, head) against one chunk of the cache, which is
// read once and in order, because memory is the limit.

#if defined(PENLIGHT_TARGET_AVX512) || defined(PENLIGHT_TARGET_NEON)
constexpr int decode_rows = 4;  // 16 accumulators of 32 registers
#else
constexpr int decode_rows = 3;  // 12 of 16
#endif
// Rows whose scores are kept at once.
constexpr int64_t band_rows = 32;
// Values are taken this many at a time, by one cache head after the other.
constexpr int64_t value_block = 16;
// Heads lie between each other, which no processor foresees: what is needed this many positions
// later is asked for now, a little at a time.
constexpr int64_t ahead = 32;
struct Walk {
    int64_t stride;  // from a position to the next
    bool near;       // asks into the nearest cache, else into the second one
};
template <class T> PENLIGHT_INLINE void ask_for(const T* later, bool near) {
    near ? __builtin_prefetch(later, 0, 3) : __builtin_prefetch(later, 0, 2);
}
template <class T> PENLIGHT_INLINE void prefetch(const T* position, int64_t d, Walk walk) {
    constexpr int64_t line = 64 / sizeof(T);
    if (2 * lanes >= line || d % line == 0) ask_for(position + d + ahead * walk.stride, walk.near);
}

// Rows with a scale lie across lines: their ends would be waited for.
template <class T> PENLIGHT_INLINE void prefetch_end(const T* row, int64_t dim, Walk walk) {
    if constexpr (scaled<T>) ask_for(row + dim + 3 + ahead * walk.stride, walk.near);
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
            key[j] = keys + (i < count ? i : count - 1) * walk.stride;
        }
        V acc[R][quad];
        for (int r = 0; r < R; r++)
            for (int j = 0; j < quad; j++) acc[r][j] = vzero();
        int64_t d = 0;
        for (; d + lanes <= dim; d += lanes) {
            for (int j = 0; j < quad; j++) {
                const V k = load_from(key[j] + d);
                prefetch(key[j], d, walk);
                if (d == 0) prefetch_end(key[j], dim, walk);
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
    for (int64_t i = 0; i < count; i++, value += walk.stride) {
        V w[R];
        for (int r = 0; r < R; r++) {
            w[r] = vset(weights[r * attention_chunk + i]);
            if constexpr (scaled<T>) w[r] = vmul(w[r], vset(scale_of(value - d, dim)));
        }
        if (d == 0) prefetch_end(value, dim, walk);
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
        const V v = load_padded(values + i * walk.stride, d, dim);
        for (int r = 0; r < R; r++)
            acc[r] = vfma(vset(weights[r * attention_chunk + i]), v, acc[r]);
    }
    for (int r = 0; r < R; r++) vstore_n(to[r] + d, acc[r], dim - d);
}

// One chunk of keys as some rows (cache head, token, head) see it.
struct Chunk {
    int64_t first, count;  // keys
    int64_t rows;          // of a cache head
    float* partial;        // [token][head][record]
};

// Row `row` of cache head `group`: where its query lies, and the keys in the chunk that it sees.
struct Row {
    const float* q;
    float* partial;
    int64_t group, begin, end;
};
Row row_of(const Attention& a, const Chunk& c, int64_t group, int64_t row) {
    const int64_t token = row / a.shared(), head = group * a.shared() + row % a.shared();
    const int64_t at = token * a.heads + head;
    int64_t begin = a.first_key(token) - c.first, end = a.start + token + 1 - c.first;
    begin = begin < 0 ? 0 : begin;
    end = end < c.count ? end : c.count;
    if (begin >= end) begin = end = 0;
    return {a.q + at * a.dim, c.partial + at * a.record(), group, begin, end};
}

template <int R, class T>
void score_rows(const Attention& a, const Chunk& c, const float* const* q, int64_t group,
                int64_t key, float* scores, float* scales) {
    const T* keys = static_cast<const T*>(a.keys) + (c.first + key) * a.stride() + group * a.width;
    const int64_t count = c.count - key;
    if constexpr (scaled<T>)
        for (int64_t i = 0; i < lanes; i++)
            scales[key + i] = scale_of(keys + (i < count ? i : count - 1) * a.stride(), a.dim);
    score_block<R>(q, keys, Walk{a.stride(), a.prefetch_near}, count, a.dim, scores + key);
}

// scores[r][i] *= scales[i] for i in [begin, end), and whole vectors around it
void scale_scores(const float* scales, int64_t begin, int64_t end, int rows, float* scores) {
    for (int r = 0; r < rows; r++, scores += attention_chunk)
        for (int64_t i = begin / lanes * lanes; i < end; i += lanes)
            vstore(scores + i, vmul(vload(scores + i), vload(scales + i)));
}

template <int R, class T>
void sum_rows(const Attention& a, const Chunk& c, const Row* rows, int64_t group, int64_t key,
              int64_t count, const float* weights) {
    float* to[R];
    for (int r = 0; r < R; r++) to[r] = rows[r].partial;
    const T* values =
        static_cast<const T*>(a.values) + (c.first + key) * a.stride() + group * a.width;
    weigh_rows<R>(weights + key, values, Walk{a.stride(), a.prefetch_near}, count, a.dim, to);
}

// Rows [first, first + count) of all cache heads' rows.
template <class T> void decode_band(const Attention& a, const Chunk& c, int64_t first, int count) {
    alignas(64) float scores[band_rows * attention_chunk];
    alignas(64) float scales[scaled<T> ? band_rows * attention_chunk : 1];  // of a tile's keys
    const float* q[band_rows];
    Row rows[band_rows];
    int tile[band_rows];  // rows of one cache head that are worked on together
    int64_t begin = c.count, end = 0;
    for (int i = 0; i < count; i++) {
        const int64_t row = (first + i) % c.rows;
        rows[i] = row_of(a, c, (first + i) / c.rows, row);
        q[i] = rows[i].q;
        if (rows[i].end > 0) begin = rows[i].begin < begin ? rows[i].begin : begin;
        end = rows[i].end > end ? rows[i].end : end;
        const int64_t left = c.rows - row < count - i ? c.rows - row : count - i;
        tile[i] = static_cast<int>(left < decode_rows ? left : decode_rows);
    }
    for (int64_t key = begin / lanes * lanes; key < end; key += lanes) {
        for (int i = 0; i < count; i += tile[i]) {
            const int64_t group = rows[i].group;
            float* to = scores + i * attention_chunk;
            float* of = scales + (scaled<T> ? i * attention_chunk : 0);
            if (tile[i] == 1) score_rows<1, T>(a, c, q + i, group, key, to, of);
            if (tile[i] == 2) score_rows<2, T>(a, c, q + i, group, key, to, of);
            if constexpr (decode_rows > 2) {
                if (tile[i] == 3) score_rows<3, T>(a, c, q + i, group, key, to, of);
                if (tile[i] == 4) score_rows<4, T>(a, c, q + i, group, key, to, of);
            }
        }
    }
    if constexpr (scaled<T>)
        for (int i = 0; i < count; i += tile[i])
            scale_scores(scales + i * attention_chunk, begin, end, tile[i],
                         scores + i * attention_chunk);
    for (int i = 0; i < count; i++) {
        float* record = rows[i].partial + a.record() - 2;
        record[0] = softmax_row(a, rows[i].begin, rows[i].end, -INFINITY,
                                scores + i * attention_chunk, record + 1);
        memset(rows[i].partial, 0, static_cast<size_t>(a.dim) * sizeof(float));
    }
    for (int64_t key = begin; key < end; key += value_block) {
        const int64_t n = end - key < value_block ? end - key : value_block;
        for (int i = 0; i < count; i += tile[i]) {
            const int64_t group = rows[i].group;
            const float* weights = scores + i * attention_chunk;
            if (tile[i] == 1) sum_rows<1, T>(a, c, rows + i, group, key, n, weights);
            if (tile[i] == 2) sum_rows<2, T>(a, c, rows + i, group, key, n, weights);
            if constexpr (decode_rows > 2) {
                if (tile[i] == 3) sum_rows<3, T>(a, c, rows + i, group, key, n, weights);
                if (tile[i] == 4) sum_rows<4, T>(a, c, rows + i, group, key, n, weights);
            }
        }
    }
}

template <class T> void decode_chunk_of(const Attention& a, int64_t chunk) {
    Chunk c{};
    c.first = (a.first_chunk + chunk) * attention_chunk;
    c.count = a.end() - c.first < attention_chunk ? a.end() - c.first : attention_chunk;
    c.rows = a.tokens * a.shared();
    c.partial = a.partial + chunk * a.tokens * a.heads * a.record();
    const int64_t rows = c.rows * a.groups;
    for (int64_t i = 0; i < rows; i += band_rows)
        decode_band<T>(a, c, i, static_cast<int>(rows - i < band_rows ? rows - i : band_rows));
}
void decode_chunk(const Attention& a, int64_t chunk) {
    if (a.cache == PENLIGHT_INT8) return decode_chunk_of<int8_t>(a, chunk);
    if (a.cache == PENLIGHT_HALF) return decode_chunk_of<uint16_t>(a, chunk);
    decode_chunk_of<float>(a, chunk);
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
