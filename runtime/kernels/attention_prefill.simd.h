// Attention of many tokens: rows (token, head) of one cache head against chunks of keys, as matrix
// products whose tiles stay in the nearest cache (Dao et al., 2022: FlashAttention).

using kernels::attention_padded;

// The memory of one task, of attention_prefill_floats floats. Keys, values, queries and weights
// (the scores after softmax) are in places; where those hold two numbers, the rest is left unused.
struct Work {
    float *keys, *values;  // [padded][chunk] and [chunk][padded]
    float *q, *acc;        // [rows][padded]
    float* scores;         // [tile_rows][chunk]
    float *sums, *maxima;  // [rows]
};
Work work_in(float* scratch, int64_t padded) {
    Work w{};
    w.keys = scratch;
    w.values = w.keys + padded * attention_chunk;
    w.q = w.values + padded * attention_chunk;
    w.acc = w.q + attention_rows * padded;
    w.scores = w.acc + attention_rows * padded;
    w.sums = w.scores + kernels::attention_tile_rows * attention_chunk;
    w.maxima = w.sums + attention_rows;
    return w;
}

// keys [place of d][i], transposed
template <class T>
void transpose_keys(const T* from, int64_t stride, int64_t count, int64_t dim, const Work& w) {
    for (int64_t i = 0; i < count; i += lanes)
        for (int64_t p = 0; p < places(dim); p += lanes) {
            V block[lanes];
            for (int64_t j = 0; j < lanes; j++)
                block[j] = load_places(from + (i + j < count ? i + j : count - 1) * stride,
                                       p * place_numbers, dim);
            vtranspose(block);
            for (int64_t j = 0; j < lanes; j++)
                vstore(w.keys + (p + j) * attention_chunk + i, block[j]);
        }
}

// values [place of i][padded]
template <class T>
void unpack_values(const T* from, int64_t stride, int64_t count, int64_t dim, const Work& w) {
    const int64_t padded = attention_padded(dim);
    float* to = w.values;
    for (int64_t i = 0; i < count; i += place_numbers, to += padded)
        for (int64_t d = 0; d < padded; d += lanes)
            vstore(to + d, load_across(from + i * stride, stride, count - i, d, dim));
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
    const float* value = w.values + begin / place_numbers * padded + d;
    for (int64_t p = begin / place_numbers; p < places(end); p++, value += padded) {
        const V first = vload(value), second = vload(value + lanes);
        for (int r = 0; r < R; r++) {
            const V weight = vset(w.scores[r * attention_chunk + p]);
            sum[r][0] = multiply_add(weight, first, sum[r][0]);
            sum[r][1] = multiply_add(weight, second, sum[r][1]);
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
    for (int64_t key = begin / tile_cols * tile_cols; key < end; key += tile_cols)
        gemm_tile_of<R, multiply_add>(w.q + row * padded, padded, w.keys + key, attention_chunk,
                                      places(a.dim), w.scores + key, attention_chunk);
    float correction[R];
    for (int r = 0; r < R; r++) {
        float sum, &most = w.maxima[row + r];
        const float before = most;
        most = softmax_row(a, begins[r], ends[r], before, w.scores + r * attention_chunk, &sum);
        sum = place_weights(w.scores + r * attention_chunk, sum);
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
    const int64_t left = a.tokens * shared - first_row;
    const int64_t rows = left < attention_rows ? left : attention_rows;
    const Work w = work_in(scratch, padded);
    memset(w.acc, 0, static_cast<size_t>(rows * padded) * sizeof(float));
    for (int64_t r = 0; r < rows; r++) {
        const int64_t token = (first_row + r) / shared;
        const float* q =
            a.q + (token * a.heads + group * shared + (first_row + r) % shared) * a.dim;
        for (int64_t p = 0; p < places(a.dim); p += lanes)
            vstore(w.q + r * padded + p, load_places(q, p * place_numbers, a.dim));
        w.sums[r] = 0;
        w.maxima[r] = -INFINITY;
    }
    const int64_t last = a.start + (first_row + rows - 1) / shared + 1;  // past all visible keys
    int64_t first = a.first_key(first_row / shared) / attention_chunk * attention_chunk;
    for (; first < last; first += attention_chunk) {
        const int64_t count = last - first < attention_chunk ? last - first : attention_chunk;
        const int64_t offset = a.row(group, first);
        transpose_keys(static_cast<const T*>(a.keys) + offset, a.width, count, a.dim, w);
        unpack_values(static_cast<const T*>(a.values) + offset, a.width, count, a.dim, w);
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
    if (a.cache == PENLIGHT_INT8) return prefill_of<int8_t>(a, group, first_row, scratch);
    if (a.cache == PENLIGHT_HALF) return prefill_of<uint16_t>(a, group, first_row, scratch);
    prefill_of<float>(a, group, first_row, scratch);
}
