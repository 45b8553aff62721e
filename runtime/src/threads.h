// The thread pool: one per runtime, shared by all its methods.
//
//   ThreadPool pool;
//   pool.resize(default_thread_count());
//   pool.parallel_for(rows, 16, body, arg);     // returns when every row is done
//
// Work is dealt out in chunks that shrink towards the end, so a slow core takes fewer and whoever
// is last has little left. A call made while another thread uses the pool, or from inside a body,
// runs inline. Workers spin briefly after a job, to catch the next one of the same run, then sleep;
// so does a caller whose workers keep it waiting. With more threads than processors nobody spins.
//
// A worker that holds up its caller for long has lost its processor to somebody else. It then works
// in stints, between which it sleeps as long, so that it never asks for more than its half of the
// processor and is let run when it wakes; held up in a stint, it sleeps for longer. After a while,
// which doubles each time that it is late again at once, it is tried as before.
#pragma once

#include <cstdint>

// WebAssembly without its threads proposal has one thread, and no standard header about more.
#if defined(__wasm__) && !defined(_REENTRANT)
#define PENLIGHT_SINGLE_THREADED 1
#else
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#endif

namespace penlight {

// Performance cores that this process may run on, within its container's quota; at least 1.
uint32_t default_thread_count();
// Processors of any kind that this process may run on; at least 1.
uint32_t processor_count();
// The processor that the calling thread runs on; -1: not known.
int current_processor();
// Has the calling thread run on another, if that is where it runs and it may use another.
void leave_processor(int processor);
#if defined(__linux__)
// Processors' worth of time that control groups allow, rounded up; UINT32_MAX without a limit.
// groups: as /proc/self/cgroup; root: where the groups are mounted.
uint32_t processor_quota(const char* groups, const char* root);
#endif

#ifdef PENLIGHT_SINGLE_THREADED
class ThreadPool {
  public:
    using Body = void (*)(void* arg, int64_t begin, int64_t end);
    void resize(uint32_t) {}
    uint32_t threads() const { return 1; }
    void parallel_for(int64_t count, int64_t, Body body, void* arg) {
        if (count > 0) body(arg, 0, count);
    }
    bool has_stints() const { return false; }
    static bool stint_over() { return false; }
};
#else
class ThreadPool {
  public:
    static constexpr uint32_t max_threads = 256;
    using Body = void (*)(void* arg, int64_t begin, int64_t end);

    ThreadPool() = default;
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    // Use `threads` threads, the caller's included, from the next parallel_for on. Fewer are used
    // when the system gives no more; threads() tells. Not from inside a body.
    void resize(uint32_t threads);
    uint32_t threads() const { return threads_.load(std::memory_order_relaxed); }
    // body(arg, begin, end) over [0, count) in runs of at least grain items.
    void parallel_for(int64_t count, int64_t grain, Body body, void* arg);
    // Whether any thread works in stints, and whether that of the calling one is over.
    bool has_stints() const { return brief_.load(std::memory_order_relaxed) != 0; }
    static bool stint_over();

  private:
    using Clock = std::chrono::steady_clock;
    struct Worker {
        ThreadPool* pool;
        uint32_t index;
        uintptr_t thread;              // pthread_t, or on Windows a HANDLE
        std::atomic<bool> working;     // takes part in a job, or looks whether it can
        std::atomic<bool> brief;       // is to work in stints
        std::atomic<Clock::rep> rest;  // between two of them
        // The caller's: whether it was late for the job, and when and after how long it is tried
        // without stints.
        bool late;
        Clock::time_point trial;
        Clock::duration probation;
    };
    // What is to be done, in units of items. Read before it is known to be current, so atomic.
    struct Job {
        std::atomic<Body> body;
        std::atomic<void*> arg;
        std::atomic<int64_t> count;
        std::atomic<int64_t> unit;     // items
        std::atomic<uint32_t> units;   // covering count
        std::atomic<uint32_t> shares;  // a chunk is what is left, divided by this
    };

    static bool start(Worker& worker);
    static void join(Worker& worker);
    static void* work_loop(void* worker);
    bool wait_for_job(Worker& worker, uint32_t seen);
    void rest(Worker& worker);
    void leave_caller();
    uint32_t run_chunks(uint64_t deal, uint32_t take);
    void post_job(uint32_t units);
    void wait_for_workers(Clock::time_point begin);
    void shorten(Worker& worker, Clock::time_point now);
    void try_workers(Clock::time_point now);
    void leave(uint32_t done);
    void wake_workers();

    // The job's number in the high half, units not yet dealt out in the low one: who takes a chunk
    // knows by the same exchange that the job is the one it has read.
    alignas(64) std::atomic<uint64_t> deal_{0};
    Job job_{};                                  // in the same cache line
    uint32_t due_ = 0;                           // what done_ is when all workers are; the caller's
    alignas(64) std::atomic<uint32_t> done_{0};  // units that workers have done, of all jobs
    alignas(64) std::atomic<uint32_t> threads_{1};
    std::atomic<uint32_t> sleepers_{0};
    std::atomic<bool> caller_sleeps_{false};
    std::atomic<bool> crowded_{false};  // more threads than processors
    std::atomic<bool> busy_{false};     // a parallel_for is under way
    std::atomic<uint32_t> brief_{0};    // workers that work in stints
    std::atomic<int> caller_on_{-1};    // processor of the caller that last had need of workers
    std::mutex sleep_mutex_;
    std::condition_variable work_came_, work_done_;
    std::mutex resize_mutex_;
    std::atomic<uint32_t> started_{0};  // workers that exist
    Worker workers_[max_threads - 1]{};
};
#endif

}  // namespace penlight
