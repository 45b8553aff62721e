// The thread pool, alone and under several methods.
#include "threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "claims.h"
#include "kernels/slots.h"

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

// Seconds of processor time, of the process or of the calling thread.
double processor_time(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// One thread is stuck in its first chunk until all that is not in its hands is done.
struct Stuck {
    static constexpr int64_t count = 4096;
    std::thread::id caller = std::this_thread::get_id();
    std::atomic<bool> worker_came{false};
    std::atomic<int64_t> done{0}, held{0};
};

void stick(void* arg, int64_t begin, int64_t end) {
    auto& stuck = *static_cast<Stuck*>(arg);
    bool first = std::this_thread::get_id() != stuck.caller && !stuck.worker_came.exchange(true);
    if (first) {
        stuck.held = end - begin;
        while (stuck.done < Stuck::count - (end - begin)) std::this_thread::yield();
    } else if (std::this_thread::get_id() == stuck.caller) {
        while (!stuck.worker_came) std::this_thread::yield();
    }
    stuck.done += end - begin;
}

CLAIM(a_thread_that_is_held_up_keeps_no_work_from_the_others) {
    for (uint32_t threads : {2u, 3u}) {
        ThreadPool pool;
        pool.resize(threads);
        Stuck stuck;
        pool.parallel_for(Stuck::count, 1, stick, &stuck);
        EXPECT(stuck.done == Stuck::count);
        EXPECT(stuck.held <= Stuck::count / 4);
    }
}

CLAIM(workers_sleep_soon_after_a_run) {
    ThreadPool pool;
    pool.resize(2);
    Tally tally{pool, std::vector<int>(1000)};
    // The least of some runs: a sanitizer has threads of its own, which work at times.
    double least = 1;
    for (int run = 0; run < 5; run++) {
        for (int round = 0; round < 100; round++) pool.parallel_for(1000, 1, mark, &tally);
        double before = processor_time(CLOCK_PROCESS_CPUTIME_ID);
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        least = std::min(least, processor_time(CLOCK_PROCESS_CPUTIME_ID) - before);
    }
    EXPECT(least < 2e-3);
}

// Sleeps in whatever chunk a worker takes, as one whose processor does something else.
struct Slow {
    std::thread::id caller = std::this_thread::get_id();
    std::atomic<bool> worker_came{false};
};

void sleep_in_worker(void* arg, int64_t, int64_t) {
    auto& slow = *static_cast<Slow*>(arg);
    if (std::this_thread::get_id() == slow.caller) {
        while (!slow.worker_came) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    } else {
        slow.worker_came = true;
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
}

CLAIM(a_caller_that_waits_long_sleeps) {
    ThreadPool pool;
    pool.resize(2);
    Slow slow;
    pool.parallel_for(2, 1, sleep_in_worker, &slow);
    double before = processor_time(CLOCK_THREAD_CPUTIME_ID);
    slow.worker_came = false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // a late worker rests
    pool.parallel_for(2, 1, sleep_in_worker, &slow);
    EXPECT(processor_time(CLOCK_THREAD_CPUTIME_ID) - before < 50e-3);
}

// Jobs of which a worker's part takes long, whenever it takes one.
struct Burden {
    std::thread::id caller = std::this_thread::get_id();
    std::chrono::milliseconds weight;
    std::atomic<int> carried{0};
};

void carry(void* arg, int64_t, int64_t) {
    auto& burden = *static_cast<Burden*>(arg);
    if (std::this_thread::get_id() == burden.caller) {
        // Time enough for a worker to come, if one does.
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    } else {
        burden.carried++;
        std::this_thread::sleep_for(burden.weight);
    }
}

// With more threads than processors a late worker is no sign of anything.
const bool notices_late_workers = penlight::processor_count() > 1;

CLAIM(a_worker_that_is_late_works_less_and_is_tried_again) {
    ThreadPool pool;
    pool.resize(2);
    Burden slow{.weight = std::chrono::milliseconds(5)};
    for (int job = 0; job < 200; job++) pool.parallel_for(8, 1, carry, &slow);
    EXPECT(slow.carried >= 1);
    if (notices_late_workers) EXPECT(slow.carried <= 50);
    Burden quick{.weight = std::chrono::milliseconds(0)};
    for (int wait = 0; wait < 1000 && (quick.carried < 100 || pool.has_stints()); wait++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        pool.parallel_for(8, 1, carry, &quick);
    }
    EXPECT(quick.carried >= 100);
    EXPECT(!pool.has_stints());
}

// Until a worker of the pool works in stints, if one ever does.
void make_late(ThreadPool& pool) {
    Burden slow{.weight = std::chrono::milliseconds(20)};
    for (int job = 0; job < 50 && !pool.has_stints(); job++) pool.parallel_for(8, 1, carry, &slow);
}

CLAIM(who_works_in_stints_leaves_items_to_others_and_comes_again) {
    ThreadPool pool;
    pool.resize(2);
    make_late(pool);
    EXPECT(pool.has_stints() == notices_late_workers);
    if (!notices_late_workers) return;
    penlight::Context context{};
    context.pool = &pool;
    context.thread_count = 2;
    const auto caller = std::this_thread::get_id();
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    std::atomic<int> visits{0}, taken{0};
    std::atomic<bool> held[2]{};
    bool shared = false;
    std::vector<std::atomic<int>> hits(400);
    penlight::kernels::Deal deal(400, 2);
    penlight::kernels::in_slots(context, 2, [&](int64_t slot, const auto& more) {
        if (held[slot].exchange(true)) shared = true;
        const bool worker = std::this_thread::get_id() != caller;
        if (worker) visits++;
        for (int64_t i; more() && (i = deal.next(slot)) >= 0;) {
            hits[static_cast<size_t>(i)]++;
            if (worker) {
                taken++;
                std::this_thread::sleep_for(std::chrono::microseconds(100));
            }
            while (!worker && visits < 3 && std::chrono::steady_clock::now() < end)
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        held[slot] = false;
    });
    EXPECT(visits >= 3);
    EXPECT(taken >= 1);
    EXPECT(!shared);
    EXPECT(std::all_of(hits.begin(), hits.end(), [](const auto& hit) { return hit == 1; }));
}

CLAIM(a_thread_is_moved_off_a_processor_and_may_use_it_still) {
    cpu_set_t before, after;
    EXPECT(sched_getaffinity(0, sizeof before, &before) == 0);
    bool moved = false;
    for (int tries = 0; tries < 100 && !moved; tries++) {
        const int processor = penlight::current_processor();
        penlight::leave_processor(processor);
        moved = penlight::current_processor() != processor;
    }
    EXPECT(moved == (penlight::processor_count() > 1));
    EXPECT(sched_getaffinity(0, sizeof after, &after) == 0);
    EXPECT(CPU_EQUAL(&before, &after));
    penlight::leave_processor(-1);
    penlight::leave_processor(CPU_SETSIZE);
}

CLAIM(a_pool_is_resized_while_workers_work_in_stints) {
    ThreadPool pool;
    for (uint32_t threads : {3u, 1u, 2u, 3u}) {
        pool.resize(threads);
        Burden slow{.weight = std::chrono::milliseconds(5)};
        for (int job = 0; job < 3; job++) pool.parallel_for(8, 1, carry, &slow);
        Tally tally{pool, std::vector<int>(1000)};
        pool.parallel_for(1000, 1, mark, &tally);
        EXPECT(tally.hits == std::vector<int>(1000, 1));
    }
}

int threads_of_process() {
    namespace fs = std::filesystem;
    auto tasks = fs::directory_iterator("/proc/self/task");
    return static_cast<int>(std::distance(fs::begin(tasks), fs::end(tasks)));
}

CLAIM(a_resized_pool_keeps_only_the_threads_it_uses) {
    ThreadPool pool;
    pool.resize(2);  // a sanitizer starts its own thread with the first
    int others = threads_of_process() - 2;
    for (uint32_t threads : {8u, 2u, 5u, 1u, 3u}) {
        pool.resize(threads);
        // A thread that was joined is listed a moment longer.
        for (int wait = 0;
             wait < 1000 && threads_of_process() - others != static_cast<int>(threads); wait++)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        EXPECT(threads_of_process() - others == static_cast<int>(threads));
    }
}

// Control groups as files: of version 2, with limits on a group and on one above it; of version 1.
CLAIM(limits_of_control_groups_are_found) {
    namespace fs = std::filesystem;
    std::string name = (fs::temp_directory_path() / "penlight-groups-XXXXXX").string();
    EXPECT(mkdtemp(name.data()) != nullptr);
    fs::path root = name;
    auto write = [&](const char* file, const char* text) {
        fs::create_directories((root / file).parent_path());
        std::ofstream(root / file) << text;
    };
    auto quota = [&](const char* groups) {
        write("groups", groups);
        return penlight::processor_quota((root / "groups").c_str(), root.c_str());
    };
    write("a/cpu.max", "250000 100000\n");
    write("a/b/cpu.max", "max 100000\n");
    write("a/c/cpu.max", "50000 100000\n");
    write("cpu/d/cpu.cfs_quota_us", "400000\n");
    write("cpu/d/cpu.cfs_period_us", "100000\n");
    write("cpu/e/cpu.cfs_quota_us", "-1\n");
    write("cpu/e/cpu.cfs_period_us", "100000\n");
    EXPECT(quota("0::/a/b\n") == 3);  // rounded up
    EXPECT(quota("0::/a/c\n") == 1);
    EXPECT(quota("0::/\n") == UINT32_MAX);
    EXPECT(quota("3:cpu,cpuacct:/d\n2:memory:/a\n0::/a\n") == 3);
    EXPECT(quota("3:cpuacct,cpu:/d\n") == 4);
    EXPECT(quota("3:cpu:/e\n") == UINT32_MAX);
    EXPECT(quota("nonsense\n:\n::\n") == UINT32_MAX);
    EXPECT(penlight::processor_quota((root / "absent").c_str(), root.c_str()) == UINT32_MAX);
    fs::remove_all(root);
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
