// The tables of kernels and delegates: the built-in ones and the caller's, in one list each.
#include <cstring>
#include <new>

#include "runtime.h"

namespace penlight {

namespace {

struct KindName {
    Kind kind;
    std::string_view text;
};
// The first text of a kind is the one that signatures are written with.
constexpr KindName kind_names[] = {
    {Kind::tensor, "Tensor"},
    {Kind::out_tensor, "Tensor!"},
    {Kind::scalar, "Scalar"},
    {Kind::integer, "int"},
    {Kind::real, "float"},
    {Kind::boolean, "bool"},
    {Kind::string, "str"},
    {Kind::int_list, "int[]"},
    {Kind::real_list, "float[]"},
    {Kind::bool_list, "bool[]"},
    {Kind::tensor_list, "Tensor[]"},
    {Kind::out_tensor_list, "Tensor[]!"},
    {Kind::optional_tensor_list, "Tensor?[]"},
    {Kind::symbol, "Scalar!"},
    {Kind::integer, "SymInt"},
    {Kind::int_list, "SymInt[]"},
    {Kind::integer, "ScalarType"},
    {Kind::integer, "Layout"},
    {Kind::integer, "MemoryFormat"},
};
constexpr size_t longest_kind = 14;  // with "?" and ", "

char* write_signature(char* to, const Parameter* parameters, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        for (const KindName& name : kind_names) {
            if (name.kind != parameters[i].kind) continue;
            to += name.text.copy(to, name.text.size());
            break;
        }
        if (parameters[i].optional) *to++ = '?';
        if (i + 1 < count) to += std::string_view(", ").copy(to, 2);
    }
    *to++ = 0;
    return to;
}

// How many types a signature lists.
uint32_t count_types(std::string_view signature) {
    uint32_t count = signature.find_first_not_of(' ') == std::string_view::npos ? 0 : 1;
    for (char c : signature) count += c == ',' ? 1 : 0;
    return count;
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
}

bool parse_type(std::string_view text, Parameter* parameter) {
    parameter->optional = !text.empty() && text.back() == '?';
    if (parameter->optional) text.remove_suffix(1);
    for (const KindName& name : kind_names) {
        if (name.text != text) continue;
        parameter->kind = name.kind;
        return true;
    }
    return false;
}

Status parse_signature(const penlight_kernel& kernel, Parameter* parameters,
                       penlight_error* error) {
    std::string_view rest = kernel.signature;
    uint32_t count = count_types(rest);
    for (uint32_t i = 0; i < count; i++) {
        size_t comma = rest.find(',');
        std::string_view text = trim(rest.substr(0, comma));
        rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
        if (!parse_type(text, &parameters[i]))
            return report(
                error, Status::invalid_argument, kernel.name,
                "expected a type such as Tensor, Tensor!, int, float, Scalar or int[] but "
                "got \"%s\"; correct the kernel's signature",
                Printable(text).text());
    }
    return Status::ok;
}

// Deals out the block's memory, in the order of decreasing alignment.
struct Cursor {
    std::byte* at;
    template <class T> T* take(size_t count) {
        T* first = reinterpret_cast<T*>(at);
        at += count * sizeof(T);
        return first;
    }
    const char* copy(const char* text) {
        size_t size = std::strlen(text) + 1;
        return static_cast<const char*>(std::memcpy(take<char>(size), text, size));
    }
};

Status check_options(const penlight_runtime_options& options, penlight_error* error) {
    for (size_t i = 0; i < options.kernel_count; i++) {
        const penlight_kernel& kernel = options.kernels[i];
        if (kernel.name && kernel.signature && kernel.run) continue;
        return report(
            error, Status::invalid_argument, "runtime",
            "expected a name, a signature and a function in kernel %zu but got null; fill "
            "the table",
            i);
    }
    for (size_t i = 0; i < options.delegate_count; i++) {
        const penlight_delegate& delegate = options.delegates[i];
        if (delegate.id && delegate.init && delegate.execute) continue;
        return report(error, Status::invalid_argument, "runtime",
                      "expected an id and functions in delegate %zu but got null; fill the table",
                      i);
    }
    return Status::ok;
}

size_t bytes_needed(const penlight_runtime_options& options) {
    KernelTable builtin = builtin_kernels();
    size_t kernels = builtin.count + options.kernel_count;
    size_t delegates = builtin_delegates().count + options.delegate_count;
    size_t bytes = kernels * sizeof(KernelRecord) + delegates * sizeof(penlight_delegate);
    for (size_t i = 0; i < builtin.count; i++)
        bytes += builtin.entries[i].kernel->parameter_count * longest_kind + 1;
    for (size_t i = 0; i < options.kernel_count; i++) {
        const penlight_kernel& kernel = options.kernels[i];
        bytes += count_types(kernel.signature) * sizeof(Parameter);
        bytes += std::strlen(kernel.name) + std::strlen(kernel.signature) + 2;
    }
    for (size_t i = 0; i < options.delegate_count; i++)
        bytes += std::strlen(options.delegates[i].id) + 1;
    return bytes;
}

}  // namespace

Status Registry::make(const penlight_runtime_options& options, const penlight_allocator& allocator,
                      penlight_error* error) {
    PENLIGHT_TRY(check_options(options, error));
    size_t bytes = bytes_needed(options);
    if (!memory.allocate(allocator, bytes, 16, false))
        return report(error, Status::out_of_memory, "runtime",
                      "expected %zu bytes of memory but got none; free some", bytes);
    KernelTable builtin = builtin_kernels();
    DelegateTable builtin_delegate_table = builtin_delegates();
    Cursor cursor{memory.data()};
    kernels = cursor.take<KernelRecord>(builtin.count + options.kernel_count);
    delegates =
        cursor.take<penlight_delegate>(builtin_delegate_table.count + options.delegate_count);
    Parameter* parsed = nullptr;
    size_t parsed_count = 0;
    for (size_t i = 0; i < options.kernel_count; i++)
        parsed_count += count_types(options.kernels[i].signature);
    parsed = cursor.take<Parameter>(parsed_count);
    for (size_t i = 0; i < builtin.count; i++) {
        const auto& [name, kernel] = builtin.entries[i];
        char* text = cursor.take<char>(0);
        cursor.at = reinterpret_cast<std::byte*>(
            write_signature(text, kernel->parameters, kernel->parameter_count));
        ::new (&kernels[kernel_count++])
            KernelRecord{name, text, kernel->parameters, kernel->parameter_count, kernel, nullptr};
    }
    for (size_t i = 0; i < options.kernel_count; i++) {
        const penlight_kernel& kernel = options.kernels[i];
        PENLIGHT_TRY(parse_signature(kernel, parsed, error));
        uint32_t count = count_types(kernel.signature);
        const char* name = cursor.copy(kernel.name);
        auto* same = const_cast<KernelRecord*>(find_kernel(name, {}));
        ::new (same ? same : &kernels[kernel_count++])
            KernelRecord{name, cursor.copy(kernel.signature), parsed, count, nullptr, kernel.run};
        parsed += count;
    }
    for (size_t i = 0; i < builtin_delegate_table.count; i++)
        delegates[delegate_count++] = builtin_delegate_table.entries[i];
    for (size_t i = 0; i < options.delegate_count; i++) {
        penlight_delegate& delegate = delegates[delegate_count++];
        delegate = options.delegates[i];
        delegate.id = cursor.copy(delegate.id);
    }
    return Status::ok;
}

const KernelRecord* Registry::find_kernel(std::string_view name, std::string_view overload) const {
    for (size_t i = 0; i < kernel_count; i++) {
        std::string_view candidate = kernels[i].name;
        if (!candidate.starts_with(name)) continue;
        candidate.remove_prefix(name.size());
        if (overload.empty() ? candidate.empty()
                             : candidate.starts_with('.') && candidate.substr(1) == overload)
            return &kernels[i];
    }
    return nullptr;
}

const penlight_delegate* Registry::find_delegate(std::string_view id) const {
    // The caller's come last and take precedence.
    for (size_t i = delegate_count; i > 0; i--)
        if (delegates[i - 1].id == id) return &delegates[i - 1];
    return nullptr;
}

}  // namespace penlight
