using kernels::Rows;

// Half precision, rounded to nearest even.
void write_halves(const Rows& rows) {
    const float* x = reinterpret_cast<const float*>(rows.from);
    auto* y = reinterpret_cast<uint16_t*>(rows.to);
    for (int64_t r = 0; r < rows.count; r++, x += rows.stride, y += rows.dim) {
        int64_t d = 0;
        for (; d + lanes <= rows.dim; d += lanes) vstore_half(y + d, vload(x + d));
        for (; d < rows.dim; d++) y[d] = kernels::float_to_half(x[d]);
    }
}

// Rows of int8 (cache_row): each number the nearest multiple of the row's largest / 127. A row with
// a number that is not finite becomes NaN, one of numbers too small for a normal scale zero.
void write_bytes(const Rows& rows) {
    const int64_t dim = rows.dim, whole = dim / lanes * lanes, left = dim - whole;
    const float* x = reinterpret_cast<const float*>(rows.from);
    auto* y = reinterpret_cast<int8_t*>(rows.to);
    for (int64_t r = 0; r < rows.count; r++, x += rows.stride, y += dim + int64_t{sizeof(float)}) {
        V most = vzero(), spoilt = vzero();  // 0, or NaN
        for (int64_t d = 0; d < dim; d += lanes) {
            const V v = d < whole ? vload(x + d) : vload_n(x + d, left);
            most = vmax(most, vabs(v));
            spoilt = vfma(v, vzero(), spoilt);
        }
        float scale = vmax_of(most) / 127 + vsum(spoilt);
        if (scale < 0x1p-126f) scale = 0;
        if (scale != scale) scale = std::numeric_limits<float>::quiet_NaN();  // of one sign
        memcpy(y + dim, &scale, sizeof scale);
        if (!(scale > 0)) {
            memset(y, 0, static_cast<size_t>(dim));
            continue;
        }
        int64_t d = 0;
        for (; d < whole; d += lanes) vstore_int8(y + d, vround(vdiv(vload(x + d), vset(scale))));
        for (; d < dim; d++) y[d] = static_cast<int8_t>(std::nearbyint(x[d] / scale));
    }
}
