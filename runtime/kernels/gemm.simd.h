// The float core of gemm.h: register tiles of outer products, and plain dot products.

#if defined(PENLIGHT_TARGET_AVX512)
constexpr int tile_rows = 12;  // 24 accumulators of 32 registers
#elif defined(PENLIGHT_TARGET_AVX2)
constexpr int tile_rows = 6;  // 12 of 16
#elif defined(PENLIGHT_TARGET_SCALAR)
constexpr int tile_rows = 4;
#else
constexpr int tile_rows = 8;
#endif
constexpr int tile_vectors = 2;
constexpr int tile_cols = tile_vectors * lanes;

// Multiply: vfma, or what takes more than one step of the depth at once.
template <int R, V (*Multiply)(V, V, V) = vfma>
void gemm_tile_of(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t depth,
                  float* tile, int64_t tile_stride) {
    V acc[R][tile_vectors];
    for (int r = 0; r < R; r++)
        for (int v = 0; v < tile_vectors; v++) acc[r][v] = vzero();
    for (int64_t k = 0; k < depth; k++) {
        V column[tile_vectors];
        for (int v = 0; v < tile_vectors; v++) column[v] = vload(b + k * b_stride + v * lanes);
        for (int r = 0; r < R; r++) {
            V x = vset(a[r * a_stride + k]);
            for (int v = 0; v < tile_vectors; v++) acc[r][v] = Multiply(x, column[v], acc[r][v]);
        }
    }
    for (int r = 0; r < R; r++)
        for (int v = 0; v < tile_vectors; v++)
            vstore(tile + r * tile_stride + v * lanes, acc[r][v]);
}

template <int R>
bool gemm_tile_step(int& rows, const float*& a, int64_t a_stride, const float* b, int64_t b_stride,
                    int64_t depth, float*& tile, int64_t tile_stride) {
    if (R > tile_rows || rows < R) return false;
    gemm_tile_of<R>(a, a_stride, b, b_stride, depth, tile, tile_stride);
    rows -= R;
    a += R * a_stride;
    tile += R * tile_stride;
    return true;
}

void gemm_tile(int rows, const float* a, int64_t a_stride, const float* b, int64_t b_stride,
               int64_t depth, float* tile, int64_t tile_stride) {
    while (rows > 0) {
        gemm_tile_step<tile_rows>(rows, a, a_stride, b, b_stride, depth, tile, tile_stride) ||
            gemm_tile_step<8>(rows, a, a_stride, b, b_stride, depth, tile, tile_stride) ||
            gemm_tile_step<4>(rows, a, a_stride, b, b_stride, depth, tile, tile_stride) ||
            gemm_tile_step<2>(rows, a, a_stride, b, b_stride, depth, tile, tile_stride) ||
            gemm_tile_step<1>(rows, a, a_stride, b, b_stride, depth, tile, tile_stride);
    }
}

template <int R, int L>
void gemm_dot_of(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t depth,
                 float* out, int out_stride) {
    V acc[R][L];
    for (int r = 0; r < R; r++)
        for (int l = 0; l < L; l++) acc[r][l] = vzero();
    int64_t k = 0;
    for (; k + lanes <= depth; k += lanes) {
        V x[L];
        for (int l = 0; l < L; l++) x[l] = vload(b + l * b_stride + k);
        for (int r = 0; r < R; r++) {
            V w = vload(a + r * a_stride + k);
            for (int l = 0; l < L; l++) acc[r][l] = vfma(w, x[l], acc[r][l]);
        }
    }
    if (k < depth) {
        int64_t n = depth - k;
        for (int r = 0; r < R; r++) {
            V w = vload_n(a + r * a_stride + k, n);
            for (int l = 0; l < L; l++)
                acc[r][l] = vfma(w, vload_n(b + l * b_stride + k, n), acc[r][l]);
        }
    }
    for (int r = 0; r < R; r++)
        for (int l = 0; l < L; l++) out[r * out_stride + l] = vsum(acc[r][l]);
}

template <int L>
void gemm_dot_lanes(int64_t rows, const float* a, int64_t a_stride, const float* b,
                    int64_t b_stride, int64_t depth, float* out) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4)
        gemm_dot_of<4, L>(a + r * a_stride, a_stride, b, b_stride, depth, out + r * L, L);
    for (; r < rows; r++)
        gemm_dot_of<1, L>(a + r * a_stride, a_stride, b, b_stride, depth, out + r * L, L);
}

void gemm_dot(int64_t rows, int lane_count, const float* a, int64_t a_stride, const float* b,
              int64_t b_stride, int64_t depth, float* out) {
    switch (lane_count) {
        case 1: return gemm_dot_lanes<1>(rows, a, a_stride, b, b_stride, depth, out);
        case 2: return gemm_dot_lanes<2>(rows, a, a_stride, b, b_stride, depth, out);
        case 3: return gemm_dot_lanes<3>(rows, a, a_stride, b, b_stride, depth, out);
        default: return gemm_dot_lanes<4>(rows, a, a_stride, b, b_stride, depth, out);
    }
}

const kernels::GemmCore gemm_core{tile_rows, tile_cols, gemm_tile, gemm_dot};
