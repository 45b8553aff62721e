// The thread pool, alone and under several methods.
#include "threads.h"

#include <thread>

#include "claims.h"

namespace {

using penlight::ThreadPool;

struct Tally {
    ThreadPool& pool;
    std::vector<int> hits;
    int64_t inner = 0;
};

void mark(void* arg, int64_t begin, int64_t end) {
    auto& tally = *static_cast<Tally*>(arg);
    for (int64_t i = begin; i < end; i++) tally.hits[static_cast<size_t>(i)]++;
}

void mark_nested(void* arg, int64_t begin, int64_t end) {
    auto& tally = *static_cast<Tally*>(arg);
    for (int64_t i = begin; i < end; i++) {
        Tally row{tally.pool, std::vector<int>(100)};
        tally.pool.parallel_for(100, 1, mark, &row);
        tally.hits[static_cast<size_t>(i)] += row.hits == std::vector<int>(100, 1);
    }
}

CLAIM(each_item_is_done_once) {
    ThreadPool pool;
    for (uint32_t threads : {4u, 1u, 7u, 2u}) {
        pool.resize(threads);
        EXPECT(pool.threads() == threads);
        for (size_t count : {1u, 2u, 63u, 1000u, 4097u}) {
            Tally tally{pool, std::vector<int>(count)};
            for (int round = 0; round < 20; round++)
                pool.parallel_for(static_cast<int64_t>(count), 3, mark, &tally);
            EXPECT(tally.hits == std::vector<int>(count, 20));
        }
    }
}

CLAIM(idle_workers_wake_up) {
    ThreadPool pool;
    pool.resize(4);
    for (int round = 0; round < 5; round++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(3));  // longer than they spin
        Tally tally{pool, std::vector<int>(1000)};
        pool.parallel_for(1000, 1, mark, &tally);
        EXPECT(tally.hits == std::vector<int>(1000, 1));
    }
}

CLAIM(a_nested_call_runs_inline) {
    ThreadPool pool;
    pool.resize(4);
    Tally tally{pool, std::vector<int>(50)};
    pool.parallel_for(50, 1, mark_nested, &tally);
    EXPECT(tally.hits == std::vector<int>(50, 1));
}

CLAIM(callers_share_a_pool) {
    ThreadPool pool;
    pool.resize(3);
    bool fine[4] = {};
    std::vector<std::thread> callers;
    for (bool& result : fine)
        callers.emplace_back([&pool, &result] {
            result = true;
            for (int round = 0; round < 200; round++) {
                Tally tally{pool, std::vector<int>(257)};
                pool.parallel_for(257, 1, mark, &tally);
                result = result && tally.hits == std::vector<int>(257, 1);
            }
        });
    for (std::thread& caller : callers) caller.join();
    for (bool result : fine) EXPECT(result);
}

CLAIM(methods_of_one_program_run_at_once) {
    Loaded add("add");
    bool fine[3] = {};
    std::vector<std::thread> callers;
    for (bool& result : fine)
        callers.emplace_back([&add, &result] {
            penlight_method* method = nullptr;
            result = !penlight_method_load(add.program, "forward", nullptr, &method, nullptr);
            for (int round = 0; round < 100 && result; round++) {
                Given x({2, 3}, std::vector<float>(6, static_cast<float>(round)));
                const penlight_value* out = nullptr;
                result = !penlight_method_set_input_tensor(method, 0, &x.tensor, nullptr) &&
                         !penlight_method_set_input_tensor(method, 1, &x.tensor, nullptr) &&
                         !penlight_method_execute(method, nullptr) &&
                         !penlight_method_output(method, 0, &out, nullptr) &&
                         static_cast<float*>(out->as.tensor->data)[5] == 2.0f * round;
            }
            penlight_method_free(method);
        });
    for (std::thread& caller : callers) caller.join();
    for (bool result : fine) EXPECT(result);
}

}  // namespace
