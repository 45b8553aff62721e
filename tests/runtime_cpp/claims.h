// A claim is a named test; EXPECT ends it, with the place, when it does not hold.
//
//   CLAIM(a_sum_is_right) { EXPECT(1 + 1 == 2); }
//
//   claims FOLDER NAME     runs one; FOLDER holds the programs. Exit status 0: it holds.
//   claims --list          names them all
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "penlight/penlight.h"

struct Claim {
    const char* name;
    void (*check)();
    Claim* next;
    Claim(const char* name, void (*check)());
};
#define CLAIM(NAME)                         \
    static void NAME();                     \
    static Claim claim_##NAME{#NAME, NAME}; \
    static void NAME()
#define EXPECT(CONDITION) ((CONDITION) ? void() : broken(__FILE__, __LINE__, #CONDITION))

[[noreturn]] void broken(const char* file, int line, const char* condition);
std::vector<char> read_program(const char* name);

// A tensor that points to `data`.
struct Given {
    std::vector<float> data;
    std::vector<int64_t> sizes;
    penlight_tensor tensor{};
    Given(std::vector<int64_t> sizes, std::vector<float> data);
};

// A runtime, a program and its method "forward"; ends the claim where one cannot be had.
struct Loaded {
    penlight_runtime* runtime = nullptr;
    penlight_program* program = nullptr;
    penlight_method* method = nullptr;
    penlight_error error{};
    explicit Loaded(const char* name, const penlight_runtime_options* options = nullptr);
    ~Loaded();
    penlight_status give(size_t index, Given& input);
    // After a run that must succeed: the numbers of an output.
    std::vector<float> output(size_t index);
    void run();
};
