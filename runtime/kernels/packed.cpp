#include "packed.h"

namespace penlight::kernels {

bool parse_packed(std::string_view text, PackedFormat* format) {
    if (text == "f32") return *format = {32, 1, false, 0, PENLIGHT_FLOAT, 0}, true;
    if (text == "f16") return *format = {16, 1, false, 0, PENLIGHT_HALF, 0}, true;
    if (text == "bf16") return *format = {16, 1, false, 0, PENLIGHT_BFLOAT16, 0}, true;
    if (text == "q4g32c") return *format = {4, 32, false, 1, PENLIGHT_UINT8, 1}, true;
    PackedFormat f{0, 0, false, 2, PENLIGHT_UINT8, 1};
    auto take = [&](std::string_view prefix) {
        if (text.substr(0, prefix.size()) != prefix) return false;
        text.remove_prefix(prefix.size());
        return true;
    };
    f.bits = take("q4") ? 4 : take("q6") ? 6 : take("q8") ? 8 : 0;
    f.group = take("g32") ? 32 : take("g16") ? 16 : 0;
    f.minimum = take("m");
    if (take(".f32"))
        f.scale_size = 4;
    else if (take(".k"))
        f.scale_size = 1, f.runs = true;
    if (take(".a16")) f.planes = 2;
    if (f.bits == 0 || f.group == 0 || !text.empty()) return false;
    *format = f;
    return true;
}

int64_t PackedFormat::nbytes(int64_t rows, int64_t inputs) const {
    int64_t block, total;
    if (rows < 0 || inputs < 0 || __builtin_mul_overflow(groups(inputs), group_bytes(), &block) ||
        __builtin_add_overflow(block, head_bytes(inputs), &block) ||
        __builtin_mul_overflow(rows / packed_rows + (rows % packed_rows != 0), block, &total))
        return -1;
    return total;
}

Status check_packed_format(Context& ctx, std::string_view text, PackedFormat* format) {
    if (!parse_packed(text, format))
        return ctx.fail(
            "expected a format such as q4g32c, q8g32, q4g32m, bf16 or f32 but got "
            "\"%.*s\"; export the model again",
            static_cast<int>(text.size() < 32 ? text.size() : 32), text.data());
    return Status::ok;
}

Status check_packed(Context& ctx, const Tensor& weight, std::string_view text, int64_t rows,
                    int64_t inputs, PackedFormat* format) {
    PENLIGHT_TRY(check_packed_format(ctx, text, format));
    int64_t nbytes = format->nbytes(rows, inputs);
    if (weight.dtype != PENLIGHT_UINT8 || weight.rank != 1 || nbytes < 0 ||
        weight.size(0) != nbytes || (weight.size(0) > 1 && weight.stride(0) != 1))
        return ctx.fail(
            "expected %lld packed bytes for %lld x %lld weights but got a %s tensor of "
            "%lld elements; export the model again",
            static_cast<long long>(nbytes), static_cast<long long>(rows),
            static_cast<long long>(inputs), dtype_name(weight.dtype),
            static_cast<long long>(weight.numel()));
    return Status::ok;
}

}  // namespace penlight::kernels
