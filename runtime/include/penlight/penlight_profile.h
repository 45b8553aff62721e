/* Penlight: where a method's time goes, and what the machine would allow.
 *
 *   if (penlight_method_set_profiling(m, true, &e)) die(e.message);
 *   ... set inputs, penlight_method_execute(m, &e), as often as you like ...
 *   for (size_t i = 0; i < penlight_method_profile_count(m); i++) {
 *       penlight_profile_record r;
 *       if (penlight_method_profile(m, i, &r, &e)) die(e.message);
 *       printf("%s: %llu runs, %.3f ms\n", r.name, r.runs, r.nanoseconds * 1e-6);
 *   }
 *   penlight_probe p;                              // what a memory-bound operator can reach here
 *   if (penlight_runtime_probe(rt, 0, &p, &e)) die(e.message);
 *   printf("%.1f GB/s\n", p.read_bytes_per_second * 1e-9);
 *
 * Ownership. The counts belong to the method and are freed when profiling is switched off or the
 * method is freed; a record's name is valid as long as the method. Off, which it is at first,
 * profiling costs one test for each execute. On, it costs two readings of the clock for each
 * instruction, some 50 ns.
 *
 * Threads. As penlight.h: calls about a method that runs are refused, not waited for.
 *
 * Bytes are those that a call must move, however clever it is: of every tensor argument its
 * elements, once, whether they come from memory or a cache. Operators that read a part of a tensor
 * count that part: gathered rows, slices, the positions of a key and value cache in use. What an
 * operator writes and reads again within itself is not counted, nor is what a delegate reads of its
 * own; its arguments count as read.
 */
#ifndef PENLIGHT_PENLIGHT_PROFILE_H
#define PENLIGHT_PENLIGHT_PROFILE_H

#include "penlight/penlight.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum penlight_profile_kind {
    PENLIGHT_PROFILE_KERNEL = 0,
    PENLIGHT_PROFILE_DELEGATE = 1,
    PENLIGHT_PROFILE_CONTROL = 2 /* moves and jumps of the program */
} penlight_profile_kind;

/* One instruction; everything but its name and place is summed over its runs. */
typedef struct penlight_profile_record {
    const char* name; /* "penlight::linear.out", a delegate's id, "move", "jump", "nothing" */
    penlight_profile_kind kind;
    uint32_t chain; /* its place in the file: chain, and instruction in the chain */
    uint32_t instruction;
    uint64_t runs; /* that succeeded */
    uint64_t nanoseconds;
    uint64_t constant_bytes; /* read of weights: tensors that lie in the file */
    uint64_t state_bytes;    /* read of mutable state, such as key and value caches */
    uint64_t read_bytes;     /* read of other tensors */
    uint64_t written_bytes;
    uint64_t multiply_adds; /* of linear layers, matrix products, convolutions, attention; else 0 */
} penlight_profile_record;

/* On: from the next execute on, from zero. Off: the counts are gone. */
PENLIGHT_API penlight_status penlight_method_set_profiling(penlight_method* method, bool on,
                                                           penlight_error* error);
/* The number of instructions; 0 while profiling is off. */
PENLIGHT_API size_t penlight_method_profile_count(const penlight_method* method);
PENLIGHT_API penlight_status penlight_method_profile(const penlight_method* method, size_t index,
                                                     penlight_profile_record* record,
                                                     penlight_error* error);

/* What the runtime's threads reach together; medians of a few passes. */
typedef struct penlight_probe {
    uint32_t threads;
    double read_bytes_per_second;    /* streaming through a buffer */
    double multiply_adds_per_second; /* int8 dot products of operands in the nearest cache */
} penlight_probe;

/* buffer_bytes is to be several times the last cache; 0 is 256 MiB. The memory is freed again.
 * Takes a fraction of a second. */
PENLIGHT_API penlight_status penlight_runtime_probe(penlight_runtime* runtime, size_t buffer_bytes,
                                                    penlight_probe* probe, penlight_error* error);

#ifdef __cplusplus
}
#endif
#endif /* PENLIGHT_PENLIGHT_PROFILE_H */
