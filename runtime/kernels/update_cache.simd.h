// Half precision, rounded to nearest even.
void floats_to_halves(const float* x, int64_t count, uint16_t* y) {
    int64_t i = 0;
    for (; i + lanes <= count; i += lanes) vstore_half(y + i, vload(x + i));
    for (; i < count; i++) y[i] = kernels::float_to_half(x[i]);
}
