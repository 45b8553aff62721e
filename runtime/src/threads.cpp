#include "threads.h"

#include <chrono>

#include "kernel.h"

#if defined(_WIN32)
#include <windows.h>
#elif !defined(PENLIGHT_SINGLE_THREADED)
#include <pthread.h>
#include <sched.h>
#endif

#ifndef PENLIGHT_SINGLE_THREADED
namespace penlight {

namespace {

constexpr uint64_t open_bit = uint64_t{1} << 31;
constexpr uint64_t inside_mask = open_bit - 1;
constexpr auto spin_time = std::chrono::microseconds(100);

uint32_t number_of(uint64_t gate) { return static_cast<uint32_t>(gate >> 32); }

void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

void yield() {
#if defined(_WIN32)
    SwitchToThread();
#else
    sched_yield();
#endif
}

}  // namespace

ThreadPool::~ThreadPool() {
    stop_ = true;
    {
        std::lock_guard lock(sleep_mutex_);
        sleep_.notify_all();
    }
    for (uint32_t i = 0; i < started_; i++) join(workers_[i]);
}

#if defined(_WIN32)
bool ThreadPool::start(Worker& worker) {
    auto run = [](void* argument) -> DWORD {
        work_loop(argument);
        return 0;
    };
    HANDLE thread = CreateThread(nullptr, 0, run, &worker, 0, nullptr);
    worker.thread = reinterpret_cast<uintptr_t>(thread);
    return thread != nullptr;
}
void ThreadPool::join(Worker& worker) {
    auto thread = reinterpret_cast<HANDLE>(worker.thread);
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
}
#else
bool ThreadPool::start(Worker& worker) {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, work_loop, &worker) != 0) return false;
    static_assert(sizeof thread <= sizeof worker.thread);
    worker.thread = reinterpret_cast<uintptr_t>(thread);
    return true;
}
void ThreadPool::join(Worker& worker) {
    pthread_join(reinterpret_cast<pthread_t>(worker.thread), nullptr);
}
#endif

void ThreadPool::resize(uint32_t threads) {
    std::lock_guard lock(resize_mutex_);
    if (threads < 1) threads = 1;
    if (threads > max_threads) threads = max_threads;
    while (started_ + 1 < threads) {
        Worker& worker = workers_[started_];
        worker.pool = this;
        worker.index = started_;
        if (!start(worker)) break;
        started_++;
    }
    // Workers that are now too many stay asleep: they never pass the gate.
    threads_ = threads < started_ + 1 ? threads : started_ + 1;
}

void ThreadPool::parallel_for(int64_t count, int64_t grain, Body body, void* arg) {
    if (count <= 0) return;
    if (grain < 1) grain = 1;
    int64_t threads = threads_.load(std::memory_order_relaxed);
    if (threads == 1 || count <= grain || count > INT64_MAX / 4 || busy_.exchange(true)) {
        body(arg, 0, count);
        return;
    }
    // Several chunks a thread even out cores of different speed.
    int64_t chunk = count / (threads * 4);
    job_ = {body, arg, count, chunk < grain ? grain : chunk};
    post_job();
    run_chunks();
    close_job();
    busy_.store(false, std::memory_order_release);
}

void ThreadPool::post_job() {
    next_.store(0, std::memory_order_relaxed);
    uint64_t number = number_of(gate_.load(std::memory_order_relaxed)) + uint64_t{1};
    // Ordered against sleepers_, so that no worker falls asleep on a job it has not seen.
    gate_.store((number << 32) | open_bit, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
    std::lock_guard lock(sleep_mutex_);
    sleep_.notify_all();
}

void ThreadPool::run_chunks() {
    for (;;) {
        int64_t begin = next_.fetch_add(job_.chunk, std::memory_order_relaxed);
        if (begin >= job_.count) return;
        int64_t left = job_.count - begin;
        job_.body(job_.arg, begin, begin + (left < job_.chunk ? left : job_.chunk));
    }
}

void ThreadPool::close_job() {
    gate_.fetch_and(~open_bit, std::memory_order_acq_rel);
    for (uint32_t spins = 0; gate_.load(std::memory_order_acquire) & inside_mask; spins++) {
        if (spins < 2000) {
            pause();
        } else {
            yield();
        }
    }
}

void* ThreadPool::work_loop(void* argument) {
    Worker& worker = *static_cast<Worker*>(argument);
    ThreadPool& pool = *worker.pool;
    uint32_t seen = 0;
    for (;;) {
        pool.wait_for_job(seen);
        if (pool.stop_) return nullptr;
        uint64_t gate = pool.gate_.load(std::memory_order_acquire);
        seen = number_of(gate);
        bool wanted = worker.index + 1 < pool.threads_.load(std::memory_order_relaxed);
        while (wanted && (gate & open_bit) && number_of(gate) == seen) {
            if (!pool.gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel))
                continue;
            pool.run_chunks();
            pool.gate_.fetch_sub(1, std::memory_order_release);
            break;
        }
    }
}

void ThreadPool::wait_for_job(uint32_t seen) {
    auto arrived = [&] {
        return stop_ || number_of(gate_.load(std::memory_order_seq_cst)) != seen;
    };
    auto until = std::chrono::steady_clock::now() + spin_time;
    do {
        for (int i = 0; i < 64; i++) {
            if (arrived()) return;
            pause();
        }
    } while (std::chrono::steady_clock::now() < until);
    std::unique_lock lock(sleep_mutex_);
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    while (!arrived()) sleep_.wait(lock);
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
}

}  // namespace penlight
#endif

void penlight_parallel_for(penlight_context* context, int64_t count, int64_t grain,
                           void (*body)(void* arg, int64_t begin, int64_t end), void* arg) {
    if (context->thread_count <= 1) {
        if (count > 0) body(arg, 0, count);
        return;
    }
    context->pool->parallel_for(count, grain, body, arg);
}
