// y = silu(gate) * up and y = gelu(gate) * up
PENLIGHT_INLINE V silu(V x) { return vmul(x, vsigmoid(x)); }
// x / 2 (1 + tanh(u)) = x sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3)
PENLIGHT_INLINE V gelu(V x) {
    V cubic = vfma(vmul(vmul(x, x), x), vset(0.044715f), x);
    return vmul(x, vsigmoid(vmul(cubic, vset(1.5957691216f))));
}
template <V (*Function)(V)>
void gated_of(const float* gate, const float* up, int64_t count, float* y) {
    int64_t i = 0;
    for (; i + lanes <= count; i += lanes)
        vstore(y + i, vmul(Function(vload(gate + i)), vload(up + i)));
    if (i < count) {
        int64_t n = count - i;
        vstore_n(y + i, vmul(Function(vload_n(gate + i, n)), vload_n(up + i, n)), n);
    }
}
void silu_mul(const float* gate, const float* up, int64_t count, float* y) {
    gated_of<silu>(gate, up, count, y);
}
void gelu_mul(const float* gate, const float* up, int64_t count, float* y) {
    gated_of<gelu>(gate, up, count, y);
}
