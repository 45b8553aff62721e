// What prefill multiplies: floats or, where a multiply-add takes two at once, pairs of bfloat16 in
// the place of each float.
#if !defined(PENLIGHT_TARGET_AVX512BF16)
constexpr int64_t place_numbers = 1;
PENLIGHT_INLINE V multiply_add(V a, V b, V c) { return vfma(a, b, c); }
// A vector of places of a row, from number d on; zeros past its end.
template <class T> PENLIGHT_INLINE V load_places(const T* row, int64_t d, int64_t dim) {
    return load_padded(row, d, dim);
}
// Numbers d to d + lanes - 1 of a row, each in one place with those of the rows that follow it;
// `left` rows are there.
template <class T>
PENLIGHT_INLINE V load_across(const T* row, int64_t, int64_t, int64_t d, int64_t dim) {
    return load_padded(row, d, dim);
}
// Puts softmax weights [chunk] into places. Returns their sum, given that of the floats.
PENLIGHT_INLINE float place_weights(float*, float sum) { return sum; }
#else
constexpr int64_t place_numbers = 2;
PENLIGHT_INLINE V multiply_add(V a, V b, V c) { return vfma_pairs(a, b, c); }
template <class T> PENLIGHT_INLINE V load_places(const T* row, int64_t d, int64_t dim) {
    return vpairs(load_padded(row, d, dim), load_padded(row, d + lanes, dim));
}
template <class T>
PENLIGHT_INLINE V load_across(const T* row, int64_t stride, int64_t left, int64_t d, int64_t dim) {
    // A value that is not there is zero, as its weight is.
    const V next = left > 1 ? load_padded(row + stride, d, dim) : vzero();
    return vzip_pairs(load_padded(row, d, dim), next);
}
// The sum is that of the weights as they are multiplied, so that the mean of equal values is that
// value.
PENLIGHT_INLINE float place_weights(float* weights, float) {
    const V one = vset(1.0f), ones = vpairs(one, one);
    V total = vzero();
    for (int64_t i = 0; i < attention_chunk; i += 2 * lanes) {
        const V w = vpairs(vload(weights + i), vload(weights + i + lanes));
        vstore(weights + i / 2, w);
        total = vfma_pairs(w, ones, total);
    }
    return vsum(total);
}
#endif

// Places that n numbers take.
constexpr int64_t places(int64_t n) { return (n + place_numbers - 1) / place_numbers; }
