// Counting what each instruction of a method costs; off until someone asks.
#pragma once

#include "memory.h"
#include "work.h"

struct penlight_method;

namespace penlight {

struct Instruction;

// What one instruction has cost so far.
struct Tally {
    WorkRule rule;  // null: every argument whole, no multiply-adds
    uint64_t runs, nanoseconds;
    uint64_t constant_bytes, state_bytes, read_bytes, written_bytes, multiply_adds;
};

enum class Memory : uint8_t { other, state, unknown };  // unknown: only when the method runs

struct Profile {
    Block block;
    Tally* tallies = nullptr;  // [instructions]; null while profiling is off
    Memory* memory = nullptr;  // [tensors]: where their data lies
    size_t instructions = 0;
};

uint64_t clock_nanoseconds();
// An instruction has run. Only while profiling is on.
void count_run(penlight_method& method, const Instruction& instruction, uint64_t nanoseconds);

}  // namespace penlight
