// executorch_prim arithmetic: sums of symbolic shapes, worked out anew in each run. Results are
// Python's: integers stay integers, division rounds down, booleans count as 0 and 1.
#include <cmath>

#include "kernel.h"

namespace penlight::kernels {

namespace {

void set(Value& out, int64_t integer) {
    out.tag = PENLIGHT_INT;
    out.as.integer = integer;
}
void set(Value& out, double real) {
    out.tag = PENLIGHT_REAL;
    out.as.real = real;
}
void set(Value& out, bool boolean) {
    out.tag = PENLIGHT_BOOLEAN;
    out.as.boolean = boolean;
}
void set(Value& out, const Scalar& scalar) {
    if (scalar.kind == PENLIGHT_REAL) return set(out, scalar.real);
    if (scalar.kind == PENLIGHT_BOOLEAN) return set(out, scalar.integer != 0);
    set(out, scalar.integer);
}

bool real(const Scalar& a) { return a.kind == PENLIGHT_REAL; }
bool real(const Scalar& a, const Scalar& b) { return real(a) || real(b); }

Status too_large(Context& ctx) {
    return ctx.fail(
        "expected a result that fits 64 bits but got a larger one; check the shapes of "
        "the inputs");
}

// A number with a fraction as an integer, rounded by the caller.
Status set_rounded(Context& ctx, double rounded, Value& out) {
    // 2^63 is the first double that does not fit; NaN fails both comparisons.
    if (!(rounded >= -9223372036854775808.0 && rounded < 9223372036854775808.0))
        return too_large(ctx);
    set(out, static_cast<int64_t>(rounded));
    return Status::ok;
}

// Both round towards minus infinity, as Python's // and %.
Status divide(Context& ctx, int64_t a, int64_t b, int64_t* quotient, int64_t* remainder) {
    if (b == 0) return ctx.fail("expected a divisor but got 0; check the shapes of the inputs");
    if (a == INT64_MIN && b == -1) return too_large(ctx);
    *quotient = a / b;
    *remainder = a % b;
    if (*remainder != 0 && (*remainder < 0) != (b < 0)) {
        *remainder += b;
        --*quotient;
    }
    return Status::ok;
}

}  // namespace

static Status prim_add(Context& ctx, Scalar a, Scalar b, Value& out) {
    int64_t sum;
    if (real(a, b)) return set(out, a.to_double() + b.to_double()), Status::ok;
    if (__builtin_add_overflow(a.integer, b.integer, &sum)) return too_large(ctx);
    return set(out, sum), Status::ok;
}

static Status prim_sub(Context& ctx, Scalar a, Scalar b, Value& out) {
    int64_t difference;
    if (real(a, b)) return set(out, a.to_double() - b.to_double()), Status::ok;
    if (__builtin_sub_overflow(a.integer, b.integer, &difference)) return too_large(ctx);
    return set(out, difference), Status::ok;
}

static Status prim_mul(Context& ctx, Scalar a, Scalar b, Value& out) {
    int64_t product;
    if (real(a, b)) return set(out, a.to_double() * b.to_double()), Status::ok;
    if (__builtin_mul_overflow(a.integer, b.integer, &product)) return too_large(ctx);
    return set(out, product), Status::ok;
}

static Status prim_floordiv(Context& ctx, Scalar a, Scalar b, Value& out) {
    if (real(a, b)) {
        if (b.to_double() == 0)
            return ctx.fail("expected a divisor but got 0; check the shapes of the inputs");
        return set(out, std::floor(a.to_double() / b.to_double())), Status::ok;
    }
    int64_t quotient = 0, remainder = 0;
    PENLIGHT_TRY(divide(ctx, a.integer, b.integer, &quotient, &remainder));
    return set(out, quotient), Status::ok;
}

static Status prim_mod(Context& ctx, Scalar a, Scalar b, Value& out) {
    if (real(a, b)) return ctx.fail("expected integers but got a fraction; export the model again");
    int64_t quotient = 0, remainder = 0;
    PENLIGHT_TRY(divide(ctx, a.integer, b.integer, &quotient, &remainder));
    return set(out, remainder), Status::ok;
}

static Status prim_truediv(Context& ctx, Scalar a, Scalar b, Value& out) {
    if (b.to_double() == 0)
        return ctx.fail("expected a divisor but got 0; check the shapes of the inputs");
    return set(out, a.to_double() / b.to_double()), Status::ok;
}

static Status prim_neg(Context& ctx, Scalar a, Value& out) {
    if (real(a)) return set(out, -a.real), Status::ok;
    if (a.integer == INT64_MIN) return too_large(ctx);
    return set(out, -a.integer), Status::ok;
}

static Status prim_ceil(Context& ctx, Scalar a, Value& out) {
    if (!real(a)) return set(out, a.integer), Status::ok;
    return set_rounded(ctx, std::ceil(a.real), out);
}

static Status prim_trunc(Context& ctx, Scalar a, Value& out) {
    if (!real(a)) return set(out, a.integer), Status::ok;
    return set_rounded(ctx, std::trunc(a.real), out);
}

// Halves go to the even neighbour, whatever the processor's rounding mode is set to.
static Status prim_round(Context& ctx, Scalar a, Value& out) {
    if (!real(a)) return set(out, a.integer), Status::ok;
    double low = std::floor(a.real), fraction = a.real - low;
    bool up = fraction > 0.5 || (fraction == 0.5 && std::fmod(low, 2.0) != 0);
    return set_rounded(ctx, up ? low + 1 : low, out);
}

static Status prim_sym_float(Context&, Scalar a, Value& out) {
    return set(out, a.to_double()), Status::ok;
}

static Status prim_sym_int(Context& ctx, Scalar a, Value& out) { return prim_trunc(ctx, a, out); }

static Status prim_sym_max(Context&, Scalar a, Scalar b, Value& out) {
    if (real(a, b)) return set(out, std::fmax(a.to_double(), b.to_double())), Status::ok;
    return set(out, a.integer > b.integer ? a.integer : b.integer), Status::ok;
}

static Status prim_sym_min(Context&, Scalar a, Scalar b, Value& out) {
    if (real(a, b)) return set(out, std::fmin(a.to_double(), b.to_double())), Status::ok;
    return set(out, a.integer < b.integer ? a.integer : b.integer), Status::ok;
}

static Status prim_sym_not(Context&, Scalar a, Value& out) {
    return set(out, a.to_double() == 0), Status::ok;
}

static Status prim_sym_ite(Context&, Scalar condition, Scalar yes, Scalar no, Value& out) {
    return set(out, condition.to_double() != 0 ? yes : no), Status::ok;
}

// Integers are compared as such: a double holds only 53 bits of one.
#define PENLIGHT_COMPARE(FUNCTION, OPERATOR)                                                  \
    static Status FUNCTION(Context&, Scalar a, Scalar b, Value& out) {                        \
        bool result =                                                                         \
            real(a, b) ? a.to_double() OPERATOR b.to_double() : a.integer OPERATOR b.integer; \
        return set(out, result), Status::ok;                                                  \
    }
PENLIGHT_COMPARE(prim_eq, ==)
PENLIGHT_COMPARE(prim_ge, >=)
PENLIGHT_COMPARE(prim_gt, >)
PENLIGHT_COMPARE(prim_le, <=)
PENLIGHT_COMPARE(prim_lt, <)
PENLIGHT_COMPARE(prim_ne, !=)
#undef PENLIGHT_COMPARE

}  // namespace penlight::kernels

PENLIGHT_DEFINE_KERNEL(prim_add)
PENLIGHT_DEFINE_KERNEL(prim_ceil)
PENLIGHT_DEFINE_KERNEL(prim_eq)
PENLIGHT_DEFINE_KERNEL(prim_floordiv)
PENLIGHT_DEFINE_KERNEL(prim_ge)
PENLIGHT_DEFINE_KERNEL(prim_gt)
PENLIGHT_DEFINE_KERNEL(prim_le)
PENLIGHT_DEFINE_KERNEL(prim_lt)
PENLIGHT_DEFINE_KERNEL(prim_mod)
PENLIGHT_DEFINE_KERNEL(prim_mul)
PENLIGHT_DEFINE_KERNEL(prim_ne)
PENLIGHT_DEFINE_KERNEL(prim_neg)
PENLIGHT_DEFINE_KERNEL(prim_round)
PENLIGHT_DEFINE_KERNEL(prim_sub)
PENLIGHT_DEFINE_KERNEL(prim_sym_float)
PENLIGHT_DEFINE_KERNEL(prim_sym_int)
PENLIGHT_DEFINE_KERNEL(prim_sym_ite)
PENLIGHT_DEFINE_KERNEL(prim_sym_max)
PENLIGHT_DEFINE_KERNEL(prim_sym_min)
PENLIGHT_DEFINE_KERNEL(prim_sym_not)
PENLIGHT_DEFINE_KERNEL(prim_truediv)
PENLIGHT_DEFINE_KERNEL(prim_trunc)
