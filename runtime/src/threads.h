// The thread pool: one per runtime, shared by all its methods.
//
//   ThreadPool pool;
//   pool.resize(default_thread_count());
//   pool.parallel_for(rows, 16, body, arg);     // returns when every row is done
//
// Work is dealt out in chunks from an atomic counter, so a slow core takes fewer. A call made
// while another thread uses the pool, or from inside a body, runs inline. Workers spin briefly
// after a job, to catch the next one of the same run, then sleep.
#pragma once

#include <cstdint>

// WebAssembly without its threads proposal has one thread, and no standard header about more.
#if defined(__wasm__) && !defined(_REENTRANT)
#define PENLIGHT_SINGLE_THREADED 1
#else
#include <atomic>
#include <condition_variable>
#include <mutex>
#endif

namespace penlight {

// Performance cores that this process may run on; at least 1.
uint32_t default_thread_count();

#ifdef PENLIGHT_SINGLE_THREADED
class ThreadPool {
  public:
    using Body = void (*)(void* arg, int64_t begin, int64_t end);
    void resize(uint32_t) {}
    uint32_t threads() const { return 1; }
    void parallel_for(int64_t count, int64_t, Body body, void* arg) {
        if (count > 0) body(arg, 0, count);
    }
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
    // when the system gives no more; threads() tells.
    void resize(uint32_t threads);
    uint32_t threads() const { return threads_.load(std::memory_order_relaxed); }
    // body(arg, begin, end) over [0, count) in runs of at least grain items.
    void parallel_for(int64_t count, int64_t grain, Body body, void* arg);

  private:
    struct Worker {
        ThreadPool* pool;
        uint32_t index;
        uintptr_t thread;  // pthread_t, or on Windows a HANDLE
    };
    struct Job {
        Body body;
        void* arg;
        int64_t count;
        int64_t chunk;
    };

    static bool start(Worker& worker);
    static void join(Worker& worker);
    static void* work_loop(void* worker);
    void wait_for_job(uint32_t seen);
    void run_chunks();
    void post_job();
    void close_job();

    // The gate through which workers enter a job: its number in the high half, then one bit that
    // says it is open, then how many workers are inside.
    alignas(64) std::atomic<uint64_t> gate_{0};
    alignas(64) std::atomic<int64_t> next_{0};  // first item not yet dealt out
    alignas(64) Job job_{};                     // written while the gate is shut and nobody inside
    std::atomic<uint32_t> threads_{1};
    std::atomic<uint32_t> sleepers_{0};
    std::atomic<bool> stop_{false};
    std::atomic<bool> busy_{false};  // a parallel_for is under way
    std::mutex sleep_mutex_;
    std::condition_variable sleep_;
    std::mutex resize_mutex_;
    uint32_t started_ = 0;  // workers that exist
    Worker workers_[max_threads - 1]{};
};
#endif

}  // namespace penlight
