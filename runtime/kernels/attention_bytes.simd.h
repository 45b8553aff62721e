// Attention of a few tokens over an int8 cache as products of integers, which take half the
// instructions of float32: keys and values stay bytes, queries and weights are rounded to 15 bits,
// as a high and a low byte each. Sums are exact, so that what is summed together does not matter.

constexpr int64_t most_byte_dim = 256;  // of a head; a multiple of 64
constexpr float fifteen_bits = 127 * 128;

// What is rounded: scale * (128 * high + low). A cache's bytes are read as unsigned, 128 too much;
// `correction` is what that adds to a sum of products.
template <int64_t N> struct Rounded {
    alignas(64) int8_t high[N], low[N];
    float scale;
    int32_t correction;
};

// x [count], a multiple of `lanes`. What is not finite makes the scale NaN.
template <int64_t N> void round_to_15_bits(const float* x, int64_t count, Rounded<N>* to) {
    V most = vset(1e-30f), poison = vzero(), total = vzero();
    for (int64_t i = 0; i < count; i += lanes) {
        const V v = vload(x + i);
        most = vmax(most, vabs(v));
        poison = vfma(v, vzero(), poison);
    }
    const float largest = vmax_of(most);
    const V inverse = vset(fifteen_bits / largest);
    for (int64_t i = 0; i < count; i += lanes) {
        const V whole = vround(vmul(vload(x + i), inverse));
        const V high = vround(vmul(whole, vset(1.0f / 128)));
        vstore_int8(to->high + i, high);
        vstore_int8(to->low + i, vfma(high, vset(-128), whole));
        total = vadd(total, whole);
    }
    to->scale = largest / fifteen_bits + vsum(poison);
    const float sum = vsum(total);  // exact, below 2^24
    to->correction = std::fabs(sum) < 0x1p24f ? 128 * static_cast<int32_t>(sum) : 0;
}

PENLIGHT_INLINE W load_bytes(const int8_t* p) {
    return _mm512_xor_si512(wload(reinterpret_cast<const uint8_t*>(p)), _mm512_set1_epi8(-128));
}

// Some positions of one head of a cache, from the first on; past `count` the last one is repeated.
// `later`: the rows that are needed next, asked for with each that is read.
struct Positions {
    const int8_t* rows;
    const int8_t* later;
    Walk walk;
    int64_t count, dim;

    PENLIGHT_INLINE const int8_t* operator[](int64_t i) const {
        return rows + (i < count ? i : count - 1) * walk.stride;
    }
    // Bytes d to d + 63 of N of them from i on; Whole: there are so many.
    template <int N, bool Whole> PENLIGHT_INLINE void load(int64_t i, int64_t d, W* to) const {
        const int8_t* row = rows + i * walk.stride + d;
        const int8_t* next = later + i * walk.stride + d;
#pragma GCC unroll 16
        for (int n = 0; n < N; n++, row += walk.stride, next += walk.stride) {
            to[n] = load_bytes(Whole ? row : operator[](i + n) + d);
            ask_for(next, walk.near);
            if (d == 0) ask_for(next + dim + 3, walk.near);
        }
    }
};

// columns[d / 4][key] = four bytes of each of `lanes` keys
template <bool Whole> PENLIGHT_INLINE void transpose_keys(const Positions& keys, W* columns) {
    for (int64_t d = 0; d < keys.dim; d += 64) {
        W w[lanes];
        keys.load<lanes, Whole>(0, d, w);
        V v[lanes];
        for (int i = 0; i < lanes; i++) v[i] = _mm512_castsi512_ps(w[i]);
        vtranspose(v);
        for (int i = 0; i < lanes; i++) columns[d / 4 + i] = _mm512_castps_si512(v[i]);
    }
}

// scores[r][i] = q[r] . key[i] for `lanes` keys
template <int R>
PENLIGHT_INLINE void score_bytes(const Rounded<most_byte_dim>* q, const W* columns, int64_t dim,
                                 const float* scales, float* scores) {
    I high[R], low[R];
    for (int r = 0; r < R; r++) high[r] = iset(0), low[r] = iset(-q[r].correction);
    for (int64_t c = 0; c < dim / 4; c++)
        for (int r = 0; r < R; r++) {
            high[r] = dot_u8(high[r], columns[c], xload(q[r].high + c * 4));
            low[r] = dot_u8(low[r], columns[c], xload(q[r].low + c * 4));
        }
    for (int r = 0; r < R; r++) {
        const V scale = vmul(vset(q[r].scale), vload(scales));
        vstore(scores + r * attention_chunk, vmul(ifloat(ijoin(high[r], low[r])), scale));
    }
}

// Bytes of four positions beside each other: number j of four vectors holds those of elements
// 16 k + 4 j + i, for k and i below 4.
constexpr int64_t byte_block = 32;  // positions
template <bool Whole>
PENLIGHT_INLINE void interleave(const Positions& values, int64_t d, W (*quads)[4]) {
    for (int64_t i = 0; i < byte_block / 4; i++) {
        W w[4];
        values.load<4, Whole>(4 * i, d, w);
        const W ab = _mm512_unpacklo_epi8(w[0], w[1]), ba = _mm512_unpackhi_epi8(w[0], w[1]);
        const W ce = _mm512_unpacklo_epi8(w[2], w[3]), ec = _mm512_unpackhi_epi8(w[2], w[3]);
        quads[i][0] = _mm512_unpacklo_epi16(ab, ce), quads[i][1] = _mm512_unpackhi_epi16(ab, ce);
        quads[i][2] = _mm512_unpacklo_epi16(ba, ec), quads[i][3] = _mm512_unpackhi_epi16(ba, ec);
    }
}

// sums[r][4 vectors] += weights[r] of a block of positions times their bytes
template <int R>
PENLIGHT_INLINE void weigh_bytes(const Rounded<attention_chunk>* weights, int64_t position,
                                 const W (*quads)[4], I* const* sums) {
    I high[R][4], low[R][4];
    for (int r = 0; r < R; r++)
        for (int j = 0; j < 4; j++) high[r][j] = iset(0), low[r][j] = sums[r][j];
    for (int64_t i = 0; i < byte_block / 4; i++)
        for (int r = 0; r < R; r++) {
            const X h = xload(weights[r].high + position + i * 4);
            const X l = xload(weights[r].low + position + i * 4);
            for (int j = 0; j < 4; j++) {
                high[r][j] = dot_u8(high[r][j], quads[i][j], h);
                low[r][j] = dot_u8(low[r][j], quads[i][j], l);
            }
        }
    for (int r = 0; r < R; r++)
        for (int j = 0; j < 4; j++) sums[r][j] = ijoin(high[r][j], low[r][j]);
}

// to[64] from sums in the order of `interleave`
PENLIGHT_INLINE void store_sums(const I* sums, int32_t correction, float scale, float* to) {
    V v[4];
    for (int j = 0; j < 4; j++)
        v[j] = vmul(ifloat(_mm512_sub_epi32(sums[j], iset(correction))), vset(scale));
    const V a = _mm512_shuffle_f32x4(v[0], v[1], 0x44), b = _mm512_shuffle_f32x4(v[0], v[1], 0xee);
    const V c = _mm512_shuffle_f32x4(v[2], v[3], 0x44), e = _mm512_shuffle_f32x4(v[2], v[3], 0xee);
    vstore(to, _mm512_shuffle_f32x4(a, c, 0x88)), vstore(to + 16, _mm512_shuffle_f32x4(a, c, 0xdd));
    vstore(to + 32, _mm512_shuffle_f32x4(b, e, 0x88));
    vstore(to + 48, _mm512_shuffle_f32x4(b, e, 0xdd));
}

bool decodes_bytes(const Attention& a) { return a.dim % 64 == 0 && a.dim <= most_byte_dim; }

// Of keys; with each, the value of its position is asked for.
Positions keys_of(const Attention& a, const Chunk& c, int64_t group, int64_t key) {
    const int64_t at = (c.first + key) * a.stride() + group * a.width;
    return {static_cast<const int8_t*>(a.keys) + at,
            static_cast<const int8_t*>(a.values) + at,
            {a.stride(), a.prefetch_near},
            c.count - key,
            a.dim};
}
// Of values; with each, a key of the next chunk is asked for.
Positions values_of(const Attention& a, const Chunk& c, int64_t group, int64_t key) {
    const int64_t at = (c.first + key) * a.stride() + group * a.width;
    return {static_cast<const int8_t*>(a.values) + at,
            static_cast<const int8_t*>(a.keys) + at + attention_chunk * a.stride(),
            {a.stride(), a.prefetch_near},
            c.count - key,
            a.dim};
}

void load_scales(const Positions& rows, int64_t count, float* scales) {
    const int64_t known = count < rows.count ? count : rows.count;
    const int8_t* at = rows.rows;
    for (int64_t i = 0; i < known; i++, at += rows.walk.stride) scales[i] = scale_of(at, rows.dim);
    for (int64_t i = known; i < count; i++) scales[i] = 0;
}

void score_bytes_of(const Attention& a, const Chunk& c, const Band& band, float* scores) {
    Rounded<most_byte_dim> q[band_rows];
    for (int i = 0; i < band.count; i++) round_to_15_bits(band.rows[i].q, a.dim, q + i);
    for (int64_t key = band.begin / lanes * lanes; key < band.end; key += lanes) {
        W columns[most_byte_dim / 4];
        alignas(64) float scales[lanes];
        int64_t group = -1;
        for (int i = 0; i < band.count; i += band.tile[i]) {
            if (group != band.rows[i].group) {
                group = band.rows[i].group;
                const Positions keys = keys_of(a, c, group, key);
                keys.count < lanes ? transpose_keys<false>(keys, columns)
                                   : transpose_keys<true>(keys, columns);
                load_scales(keys, lanes, scales);
            }
            float* to = scores + i * attention_chunk + key;
            if (band.tile[i] == 1) score_bytes<1>(q + i, columns, a.dim, scales, to);
            if (band.tile[i] == 2) score_bytes<2>(q + i, columns, a.dim, scales, to);
            if (band.tile[i] == 3) score_bytes<3>(q + i, columns, a.dim, scales, to);
            if (band.tile[i] == 4) score_bytes<4>(q + i, columns, a.dim, scales, to);
        }
    }
}

void sum_bytes_of(const Attention& a, const Chunk& c, const Band& band, float* scores) {
    Rounded<attention_chunk> weights[band_rows];
    alignas(64) float scales[attention_chunk] = {};
    for (int i = 0; i < band.count; i++) {
        const Row& row = band.rows[i];
        if (i == 0 || row.group != band.rows[i - 1].group)
            load_scales(values_of(a, c, row.group, 0), c.count, scales);
        float* to = scores + i * attention_chunk;
        for (int64_t k = row.begin; k < row.end; k++) to[k] *= scales[k];
        round_to_15_bits(to, attention_chunk, weights + i);
    }
    alignas(64) I sums[band_rows][4];
    for (int64_t d = 0; d < a.dim; d += 64) {
        memset(sums, 0, sizeof sums);
        for (int64_t key = band.begin / byte_block * byte_block; key < band.end;
             key += byte_block) {
            W quads[byte_block / 4][4];
            int64_t group = -1;
            for (int i = 0; i < band.count; i += band.tile[i]) {
                if (group != band.rows[i].group) {
                    group = band.rows[i].group;
                    const Positions values = values_of(a, c, group, key);
                    values.count < byte_block ? interleave<false>(values, d, quads)
                                              : interleave<true>(values, d, quads);
                }
                int r = i;
                for (; r + 2 <= i + band.tile[i]; r += 2) {
                    I* const to[2] = {sums[r], sums[r + 1]};
                    weigh_bytes<2>(weights + r, key, quads, to);
                }
                I* const to[1] = {sums[r]};
                if (r < i + band.tile[i]) weigh_bytes<1>(weights + r, key, quads, to);
            }
        }
        for (int i = 0; i < band.count; i++)
            store_sums(sums[i], weights[i].correction, weights[i].scale, band.rows[i].partial + d);
    }
}
