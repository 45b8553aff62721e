/* Penlight: run a .pte program from C, C++, Swift, Kotlin (JNI) or JavaScript (WebAssembly).
 *
 *   penlight_error e;  penlight_runtime* rt;  penlight_program* p;  penlight_method* m;
 *   if (penlight_runtime_create(NULL, &rt, &e)) die(e.message);
 *   if (penlight_program_open(rt, "add.pte", &p, &e)) die(e.message);
 *   if (penlight_method_load(p, "forward", NULL, &m, &e)) die(e.message);
 *   float x = 1, y = 2;  int64_t one = 1;
 *   penlight_tensor tx = {.dtype = PENLIGHT_FLOAT, .rank = 1, .sizes = &one, .data = &x};
 *   penlight_tensor ty = {.dtype = PENLIGHT_FLOAT, .rank = 1, .sizes = &one, .data = &y};
 *   penlight_method_set_input_tensor(m, 0, &tx, &e);
 *   penlight_method_set_input_tensor(m, 1, &ty, &e);
 *   if (penlight_method_execute(m, &e)) die(e.message);
 *   const penlight_value* out;
 *   penlight_method_output(m, 0, &out, &e);        // out->as.tensor->data holds 3.0f
 *   penlight_method_free(m); penlight_program_close(p); penlight_runtime_free(rt);
 *
 * Ownership. A runtime outlives its programs, a program outlives its methods (freeing one that is
 * still in use is refused by keeping a reference count: the memory goes when the last user does).
 * Bytes given to penlight_program_open_memory belong to the caller and must stay, unchanged, until
 * the program and its methods are gone. Input tensors are borrowed: their data must stay until the
 * next execute has returned, and each is set anew before the execute after that. Outputs belong to
 * the method and are valid until its next execute; copy one before it is its method's own input.
 *
 * Threads. Different methods may run at the same time, unless they share state; one method may
 * not. Everything that is `const` may be read from any thread.
 *
 * Errors. Every call returns PENLIGHT_OK (0) or a code, and writes one line of the form
 * "[where] expected X but got Y; next thing to do" to `error` if that is not NULL. No call aborts,
 * throws, or leaves something half made: on failure every out parameter is NULL or untouched.
 */
#ifndef PENLIGHT_PENLIGHT_H
#define PENLIGHT_PENLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef _WIN32
#define PENLIGHT_API __declspec(dllexport)
#else
#define PENLIGHT_API __attribute__((visibility("default")))
#endif
#ifdef __cplusplus
extern "C" {
#endif

#define PENLIGHT_MAX_RANK 16

typedef enum penlight_status {
    PENLIGHT_OK = 0,
    PENLIGHT_INVALID_ARGUMENT = 1, /* the caller gave something wrong */
    PENLIGHT_INVALID_PROGRAM = 2,  /* the file is malformed */
    PENLIGHT_NOT_FOUND = 3,        /* no such file, method or key */
    PENLIGHT_UNSUPPORTED = 4,      /* well formed, but this runtime lacks a kernel or delegate */
    PENLIGHT_OUT_OF_MEMORY = 5,
    PENLIGHT_IO = 6,
    PENLIGHT_EXECUTION_FAILED = 7, /* a kernel or delegate refused its arguments while running */
    PENLIGHT_CANCELLED = 8
} penlight_status;

typedef struct penlight_error {
    penlight_status status;
    char message[512]; /* UTF-8, always terminated */
} penlight_error;

/* The codes are those of PyTorch's c10::ScalarType and of the file. */
typedef enum penlight_dtype {
    PENLIGHT_UINT8 = 0,
    PENLIGHT_INT8 = 1,
    PENLIGHT_INT16 = 2,
    PENLIGHT_INT32 = 3,
    PENLIGHT_INT64 = 4,
    PENLIGHT_HALF = 5,
    PENLIGHT_FLOAT = 6,
    PENLIGHT_DOUBLE = 7,
    PENLIGHT_BOOL = 11,
    PENLIGHT_BFLOAT16 = 15,
    PENLIGHT_UINT16 = 27,
    PENLIGHT_UINT32 = 28,
    PENLIGHT_UINT64 = 29
} penlight_dtype;

typedef enum penlight_dynamism {
    PENLIGHT_STATIC = 0,        /* the shape never changes */
    PENLIGHT_DYNAMIC_BOUND = 1, /* each size may vary up to max_sizes */
    PENLIGHT_DYNAMIC_UNBOUND = 2
} penlight_dynamism;

/* A view of memory. When you make one for an input, fill dtype, rank, sizes and data; leave the
 * rest zero for a contiguous tensor. */
typedef struct penlight_tensor {
    void* data;         /* first element */
    size_t capacity;    /* bytes that may be used at data; 0 on an input: numel * item size */
    int64_t* sizes;     /* [rank] */
    int64_t* strides;   /* [rank], in elements; NULL on an input: contiguous by dim_order */
    uint8_t* dim_order; /* [rank], outermost dimension first; NULL on an input: 0, 1, 2, ... */
    const int64_t* max_sizes; /* [rank], upper bounds; the sizes themselves when static */
    int32_t dtype;            /* penlight_dtype */
    int32_t rank;
    uint8_t dynamism;    /* penlight_dynamism */
    uint8_t is_constant; /* data lies in the file and is never written */
} penlight_tensor;

typedef enum penlight_tag {
    PENLIGHT_NONE = 0,
    PENLIGHT_INT = 1,
    PENLIGHT_BOOLEAN = 2,
    PENLIGHT_REAL = 3,
    PENLIGHT_TENSOR = 4,
    PENLIGHT_STRING = 5,
    PENLIGHT_INT_LIST = 6,
    PENLIGHT_REAL_LIST = 7,
    PENLIGHT_BOOL_LIST = 8,
    PENLIGHT_TENSOR_LIST = 9,
    PENLIGHT_OPTIONAL_TENSOR_LIST = 10
} penlight_tag;

typedef struct penlight_value penlight_value;
struct penlight_value {
    penlight_tag tag;
    uint32_t count; /* items of a list, bytes of a string (without its terminator) */
    union {
        int64_t integer;
        bool boolean;
        double real;
        penlight_tensor* tensor;
        const char* string;
        penlight_value** values; /* INT_LIST, TENSOR_LIST, OPTIONAL_TENSOR_LIST: [count] */
        const double* reals;     /* REAL_LIST: [count] */
        const uint8_t* booleans; /* BOOL_LIST: [count], each 0 or 1 */
    } as;
};

/* Memory comes from here. `allocate` returns NULL when there is none; memory need not be zeroed.
 * alignment is a power of two, at most 4096. */
typedef struct penlight_allocator {
    void* context;
    void* (*allocate)(void* context, size_t size, size_t alignment);
    void (*release)(void* context, void* pointer, size_t size);
} penlight_allocator;

/* ---- extending the runtime: kernels and delegates are tables, handed over at creation ---- */
/* What a kernel or delegate may use while it runs. */
typedef struct penlight_context penlight_context;
/* Record why a call failed (printf style, one line); returns PENLIGHT_EXECUTION_FAILED. */
PENLIGHT_API penlight_status penlight_fail(penlight_context* context, const char* format, ...);
/* Give an output its actual shape, within its bound. */
PENLIGHT_API penlight_status penlight_resize(penlight_context* context, penlight_tensor* tensor,
                                             int32_t rank, const int64_t* sizes);
/* Split [0, count) over the pool in runs of at least `grain`; returns when all are done. */
PENLIGHT_API void penlight_parallel_for(penlight_context* context, int64_t count, int64_t grain,
                                        void (*body)(void* arg, int64_t begin, int64_t end),
                                        void* arg);

typedef struct penlight_kernel {
    const char* name;      /* "my_ops::scale.out" */
    const char* signature; /* argument types as in the operator's schema, comma separated:
                              "Tensor, float, Tensor!"; ! marks an output, ? an optional */
    penlight_status (*run)(penlight_context* context, penlight_value* const* args, uint32_t count);
} penlight_kernel;

typedef struct penlight_delegate {
    const char* id; /* "XnnpackBackend" */
    /* Make a handle from the processed bytes, which stay mapped as long as the handle lives. */
    penlight_status (*init)(penlight_context* context, const void* processed, size_t size,
                            const char* const* spec_keys, const void* const* spec_values,
                            const size_t* spec_sizes, size_t spec_count, void** handle);
    penlight_status (*execute)(penlight_context* context, void* handle, penlight_value* const* args,
                               uint32_t count);
    void (*destroy)(void* handle);
} penlight_delegate;

/* ---- runtime ---- */
typedef struct penlight_runtime penlight_runtime;
typedef struct penlight_runtime_options {
    uint32_t threads;               /* 0: the performance cores within the container's quota. More
                                       than the processors gains nothing: they take turns. */
    const penlight_kernel* kernels; /* extra kernels; an equal name replaces a built-in one */
    size_t kernel_count;
    const penlight_delegate* delegates; /* extra delegates, besides "reference" and "null" */
    size_t delegate_count;
    const penlight_allocator* allocator; /* NULL: the system's */
} penlight_runtime_options;

PENLIGHT_API const char* penlight_version(void);
PENLIGHT_API penlight_status penlight_runtime_create(const penlight_runtime_options* options,
                                                     penlight_runtime** runtime,
                                                     penlight_error* error);
PENLIGHT_API void penlight_runtime_free(penlight_runtime* runtime);
PENLIGHT_API uint32_t penlight_runtime_threads(const penlight_runtime* runtime);
/* 0: the default. A method uses at most as many as there were when it was loaded. */
PENLIGHT_API penlight_status penlight_runtime_set_threads(penlight_runtime* runtime,
                                                          uint32_t threads, penlight_error* error);
/* Instruction set in use: "avx512bf16", "avx2", "neon", "scalar", ... PENLIGHT_ISA forces one. */
PENLIGHT_API const char* penlight_runtime_isa(const penlight_runtime* runtime);
PENLIGHT_API size_t penlight_runtime_kernel_count(const penlight_runtime* runtime);
/* The name and signature of the kernel at index, or NULL past the end. */
PENLIGHT_API const char* penlight_runtime_kernel_name(const penlight_runtime* runtime,
                                                      size_t index);
PENLIGHT_API const char* penlight_runtime_kernel_signature(const penlight_runtime* runtime,
                                                           size_t index);
PENLIGHT_API size_t penlight_runtime_delegate_count(const penlight_runtime* runtime);
PENLIGHT_API const char* penlight_runtime_delegate_id(const penlight_runtime* runtime,
                                                      size_t index);

/* ---- program: a verified, mapped file ---- */
typedef struct penlight_program penlight_program;
PENLIGHT_API penlight_status penlight_program_open(penlight_runtime* runtime, const char* path,
                                                   penlight_program** program,
                                                   penlight_error* error);
/* data must be aligned to 16 bytes; a copy is made otherwise. */
PENLIGHT_API penlight_status penlight_program_open_memory(penlight_runtime* runtime,
                                                          const void* data, size_t size,
                                                          penlight_program** program,
                                                          penlight_error* error);
PENLIGHT_API void penlight_program_close(penlight_program* program);
PENLIGHT_API size_t penlight_program_method_count(const penlight_program* program);
PENLIGHT_API const char* penlight_program_method_name(const penlight_program* program,
                                                      size_t index);
PENLIGHT_API size_t penlight_program_named_data_count(const penlight_program* program);
PENLIGHT_API const char* penlight_program_named_data_key(const penlight_program* program,
                                                         size_t index);
/* The bytes stay valid as long as the program. PENLIGHT_NOT_FOUND if there is no such key. */
PENLIGHT_API penlight_status penlight_program_named_data(const penlight_program* program,
                                                         const char* key, const void** data,
                                                         size_t* size, penlight_error* error);

/* ---- method: what it takes, gives and needs; asked before anything is allocated ---- */
typedef struct penlight_value_info {
    penlight_tag tag;
    int32_t dtype; /* of a tensor, else -1 */
    int32_t rank;
    int64_t sizes[PENLIGHT_MAX_RANK]; /* upper bounds when dynamic */
    uint8_t dim_order[PENLIGHT_MAX_RANK];
    penlight_dynamism dynamism;
    size_t nbytes;
    const char* name; /* the parameter's name if the file records it, else NULL */
} penlight_value_info;

typedef struct penlight_memory_info {
    size_t planned;    /* activations and state, as the file plans them */
    size_t scratch;    /* the largest scratch of any kernel */
    size_t structures; /* values, instructions and tables of the loaded method */
} penlight_memory_info;

PENLIGHT_API penlight_status penlight_program_method_counts(const penlight_program* program,
                                                            const char* method, size_t* inputs,
                                                            size_t* outputs, penlight_error* error);
PENLIGHT_API penlight_status penlight_program_input_info(const penlight_program* program,
                                                         const char* method, size_t index,
                                                         penlight_value_info* info,
                                                         penlight_error* error);
PENLIGHT_API penlight_status penlight_program_output_info(const penlight_program* program,
                                                          const char* method, size_t index,
                                                          penlight_value_info* info,
                                                          penlight_error* error);
PENLIGHT_API penlight_status penlight_program_method_memory(const penlight_program* program,
                                                            const char* method,
                                                            penlight_memory_info* info,
                                                            penlight_error* error);

typedef struct penlight_method penlight_method;

/* allocator NULL: the runtime's. The default one reserves address space and lets the system supply
 * zeroed pages as they are first touched. */
PENLIGHT_API penlight_status penlight_method_load(penlight_program* program, const char* name,
                                                  const penlight_allocator* allocator,
                                                  penlight_method** method, penlight_error* error);
/* Load a method that works on the state of `with`, a method of the same program that plans the same
 * state, which neither puts back nor copies it: the two see what each other writes. */
PENLIGHT_API penlight_status penlight_method_load_sharing(penlight_method* with, const char* name,
                                                          penlight_method** method,
                                                          penlight_error* error);
PENLIGHT_API void penlight_method_free(penlight_method* method);
/* Put mutable state (caches, counters) back to what the file says. */
PENLIGHT_API penlight_status penlight_method_reset(penlight_method* method, penlight_error* error);
PENLIGHT_API penlight_status penlight_method_set_input(penlight_method* method, size_t index,
                                                       const penlight_value* value,
                                                       penlight_error* error);
PENLIGHT_API penlight_status penlight_method_set_input_tensor(penlight_method* method, size_t index,
                                                              const penlight_tensor* tensor,
                                                              penlight_error* error);
/* Write an output to the caller's memory from the next execute on (NULL: no longer); at once, or
 * copied when the run is over if the file plans a place for it. */
PENLIGHT_API penlight_status penlight_method_set_output_data(penlight_method* method, size_t index,
                                                             void* data, size_t size,
                                                             penlight_error* error);
PENLIGHT_API penlight_status penlight_method_execute(penlight_method* method,
                                                     penlight_error* error);
PENLIGHT_API penlight_status penlight_method_output(const penlight_method* method, size_t index,
                                                    const penlight_value** value,
                                                    penlight_error* error);
/* Mutable state: tensors that the file gives an initial value or a name. May be read and written
 * between executes, for instance to save a conversation. */
PENLIGHT_API size_t penlight_method_state_count(const penlight_method* method);
PENLIGHT_API penlight_status penlight_method_state(penlight_method* method, size_t index,
                                                   penlight_tensor** tensor, penlight_error* error);
#ifdef __cplusplus
}
#endif
#endif /* PENLIGHT_PENLIGHT_H */
