// One output plane of a depthwise convolution from a padded input plane (float).

// line[out_width], rounded up to whole vectors, = bias + sum over taps
void depthwise_line(const kernels::DepthwisePlane& p, int64_t oy, float bias, float* line) {
    for (int64_t ox = 0; ox < p.out_width; ox += lanes) {
        V acc = vset(bias);
        for (int64_t ky = 0; ky < p.kernel[0]; ky++) {
            const float* row =
                p.plane + (oy * p.stride[0] + ky * p.dilation[0]) * p.stride[1] * p.phase_width;
            for (int64_t kx = 0; kx < p.kernel[1]; kx++) {
                int64_t x = kx * p.dilation[1];
                const float* from = row + x % p.stride[1] * p.phase_width + x / p.stride[1] + ox;
                acc = vfma(vset(p.weight[ky * p.kernel[1] + kx]), vload(from), acc);
            }
        }
        vstore(line + ox, acc);
    }
}
