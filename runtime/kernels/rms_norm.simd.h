// y = x / sqrt(mean(x^2) + eps) * (weight + offset), one row of `width`
void rms_norm_row(const float* x, const float* weight, int64_t width, float eps, float offset,
                  float* y) {
    V squares[2] = {vzero(), vzero()};
    int64_t i = 0;
    for (; i + 2 * lanes <= width; i += 2 * lanes)
        for (int j = 0; j < 2; j++) {
            V v = vload(x + i + j * lanes);
            squares[j] = vfma(v, v, squares[j]);
        }
    for (; i < width; i += lanes) {
        V v = width - i >= lanes ? vload(x + i) : vload_n(x + i, width - i);
        squares[0] = vfma(v, v, squares[0]);
    }
    const float mean = vsum(vadd(squares[0], squares[1])) / static_cast<float>(width);
    const V scale = vset(1.0f / std::sqrt(mean + eps)), shift = vset(offset);
    for (i = 0; i + lanes <= width; i += lanes)
        vstore(y + i, vmul(vmul(vload(x + i), scale), vadd(vload(weight + i), shift)));
    if (i < width) {
        V v = vmul(vmul(vload_n(x + i, width - i), scale),
                   vadd(vload_n(weight + i, width - i), shift));
        vstore_n(y + i, v, width - i);
    }
}
