#include "threads.h"

#include <algorithm>

#include "kernel.h"

#if defined(_WIN32)
#include <windows.h>
#elif !defined(PENLIGHT_SINGLE_THREADED)
#include <pthread.h>
#endif

#ifndef PENLIGHT_SINGLE_THREADED
namespace penlight {

namespace {

using Clock = std::chrono::steady_clock;

// Long enough for what lies between two tokens; well under the millisecond that is promised.
constexpr auto worker_spins = std::chrono::microseconds(300);
// A worker that takes longer has lost its processor: sleeping lets it have this one.
constexpr auto caller_spins = std::chrono::microseconds(200);
// Where two share a processor, a time slice is a few milliseconds and ends at a tick, of which
// there is one in 1 to 4 ms: who runs and sleeps for less in turns is rarely interrupted.
constexpr auto stint = std::chrono::microseconds(500);
constexpr Clock::duration least_rest = stint, most_rest = std::chrono::milliseconds(256);
// How long a late worker works in stints.
constexpr Clock::duration least_probation = std::chrono::milliseconds(2),
                          most_probation = most_rest;
// Late again so soon after that: what took its processor is still there.
constexpr auto soon = std::chrono::milliseconds(40);
constexpr auto never = Clock::time_point::max();
// When the stint of this thread ends.
thread_local Clock::time_point stint_end = never;

uint32_t number_of(uint64_t deal) { return static_cast<uint32_t>(deal >> 32); }
uint32_t left_of(uint64_t deal) { return static_cast<uint32_t>(deal); }
// At least one of `left` units.
uint32_t chunk_of(uint32_t left, uint32_t shares) { return left > shares ? left / shares : 1; }

void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Whether done() came true within `time`.
template <class Done, class Time> bool spin(const Done& done, Time time) {
    for (int i = 0; i < 64; i++) {
        if (done()) return true;
        pause();
    }
    const auto until = Clock::now() + time;
    do {
        for (int i = 0; i < 64; i++) {
            if (done()) return true;
            pause();
        }
    } while (Clock::now() < until);
    return false;
}

}  // namespace

ThreadPool::~ThreadPool() { resize(1); }

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
    threads_ = threads;
    crowded_ = threads > processor_count();
    if (threads < started_ + 1) {
        wake_workers();  // those that are now too many end
        while (started_ + 1 > threads) {
            Worker& worker = workers_[--started_];
            join(worker);
            if (worker.brief.exchange(false)) brief_--;
        }
    }
    while (started_ + 1 < threads) {
        Worker& worker = workers_[started_];
        worker.pool = this;
        worker.index = started_;
        worker.rest = least_rest.count();
        worker.trial = {};
        worker.probation = least_probation;
        if (!start(worker)) break;
        started_++;
    }
    threads_ = started_ + 1;
}

void ThreadPool::parallel_for(int64_t count, int64_t grain, Body body, void* arg) {
    if (count <= 0) return;
    if (grain < 1) grain = 1;
    int64_t threads = threads_.load(std::memory_order_relaxed);
    if (threads == 1 || count <= grain || count > INT64_MAX / 4 || busy_.exchange(true)) {
        body(arg, 0, count);
        return;
    }
    const Clock::time_point begin = Clock::now();
    int64_t parts = threads * 8;
    if (has_stints()) {
        parts *= 8;
        caller_on_.store(current_processor(), std::memory_order_relaxed);
        try_workers(begin);
    }
    int64_t unit = (count + parts - 1) / parts;
    if (unit < grain) unit = grain;
    auto units = static_cast<uint32_t>((count + unit - 1) / unit);
    job_.body.store(body, std::memory_order_release);
    job_.arg.store(arg, std::memory_order_release);
    job_.count.store(count, std::memory_order_release);
    job_.unit.store(unit, std::memory_order_release);
    job_.units.store(units, std::memory_order_release);
    job_.shares.store(static_cast<uint32_t>(threads) * 2, std::memory_order_release);
    post_job(units);
    wait_for_workers(begin);
    busy_.store(false, std::memory_order_release);
}

// Opens the job with the caller's first chunk taken, does its part, and counts the others'.
void ThreadPool::post_job(uint32_t units) {
    uint32_t take = chunk_of(units, job_.shares.load(std::memory_order_relaxed));
    uint64_t number = number_of(deal_.load(std::memory_order_relaxed)) + uint64_t{1};
    uint64_t deal = number << 32 | (units - take);
    // Ordered against sleepers_, so that no worker falls asleep on a job it has not seen.
    deal_.store(deal, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) != 0) {
        caller_on_.store(current_processor(), std::memory_order_relaxed);
        wake_workers();
    }
    due_ += units - run_chunks(deal, take);
}

void ThreadPool::wake_workers() {
    std::lock_guard lock(sleep_mutex_);
    work_came_.notify_all();
}

// Takes part in the job of `deal` while it has units left, and gives how many were done. `take` of
// them, those before what is left, are taken already.
uint32_t ThreadPool::run_chunks(uint64_t deal, uint32_t take) {
    constexpr auto acquire = std::memory_order_acquire;
    const uint32_t number = number_of(deal);
    // What is read here belongs to the job if an exchange succeeds below: it stays until then.
    Body body = job_.body.load(acquire);
    void* arg = job_.arg.load(acquire);
    const int64_t count = job_.count.load(acquire), unit = job_.unit.load(acquire);
    const uint32_t units = job_.units.load(acquire);
    // In a stint, small ones: it ends between two.
    const uint32_t shares = job_.shares.load(acquire) * (stint_end == never ? 1 : 4);
    uint32_t done = 0;
    for (;;) {
        if (take > 0) {
            int64_t end = (units - left_of(deal)) * unit, begin = end - take * unit;
            body(arg, begin, end < count ? end : count);
            done += take;
        }
        if (stint_over()) return done;
        // No look before the exchange: its failure brings the cache line just as well.
        do {
            if (number_of(deal) != number || left_of(deal) == 0) return done;
            take = chunk_of(left_of(deal), shares);
        } while (
            !deal_.compare_exchange_strong(deal, deal - take, std::memory_order_acq_rel, acquire));
        deal -= take;
    }
}

bool ThreadPool::stint_over() { return stint_end != never && Clock::now() >= stint_end; }

// begin: when the job was opened.
void ThreadPool::wait_for_workers(Clock::time_point begin) {
    auto all_done = [&] { return done_.load(std::memory_order_seq_cst) == due_; };
    if (all_done()) return;
    const Clock::time_point idle = Clock::now();
    const bool crowded = crowded_.load(std::memory_order_relaxed);
    if (!crowded && spin(all_done, caller_spins)) return;
    const uint32_t started = started_.load(std::memory_order_relaxed);
    for (uint32_t i = 0; i < started; i++) workers_[i].late = workers_[i].working.load();
    {
        std::unique_lock lock(sleep_mutex_);
        caller_sleeps_.store(true, std::memory_order_seq_cst);
        while (!all_done()) work_done_.wait(lock);
        caller_sleeps_.store(false, std::memory_order_relaxed);
    }
    // With long pieces of work a long wait is no sign of anything: a core of a sixth of the speed
    // that took one of the last units, an eighth of what each thread would do, needs less than
    // this.
    const Clock::time_point end = Clock::now();
    if (crowded || end - idle < (idle - begin) / 2) return;
    for (uint32_t i = 0; i < started; i++)
        if (workers_[i].late) shorten(workers_[i], end);
}

// Has a worker that was late work in stints, or with longer rests.
void ThreadPool::shorten(Worker& worker, Clock::time_point now) {
    if (worker.brief.load()) {
        worker.rest = std::min(8 * worker.rest.load(), most_rest.count());
        return;
    }
    worker.probation = now - worker.trial < soon ? std::min(2 * worker.probation, most_probation)
                                                 : std::max(worker.probation / 4, least_probation);
    worker.trial = now + worker.probation;
    worker.brief = true;
    brief_++;
}

// Lets those work without stints whose time it is.
void ThreadPool::try_workers(Clock::time_point now) {
    const uint32_t started = started_.load(std::memory_order_relaxed);
    for (uint32_t i = 0; i < started; i++)
        if (now >= workers_[i].trial && workers_[i].brief.exchange(false)) brief_--;
}

// A worker has done that many units of the job and takes no more.
void ThreadPool::leave(uint32_t done) {
    if (done == 0) return;
    // Ordered against caller_sleeps_, so that the caller does not sleep on what it has not seen.
    done_.fetch_add(done, std::memory_order_seq_cst);
    if (!caller_sleeps_.load(std::memory_order_seq_cst)) return;
    std::lock_guard lock(sleep_mutex_);
    work_done_.notify_all();
}

void* ThreadPool::work_loop(void* argument) {
    Worker& worker = *static_cast<Worker*>(argument);
    ThreadPool& pool = *worker.pool;
    uint32_t seen = 0;
    while (pool.wait_for_job(worker, seen)) {
        uint64_t deal = pool.deal_.load(std::memory_order_acquire);
        seen = number_of(deal);
        worker.working.store(true, std::memory_order_relaxed);
        const uint32_t done = pool.run_chunks(deal, 0);
        worker.working.store(false, std::memory_order_relaxed);
        pool.leave(done);
    }
    return nullptr;
}

// True with the next job, or behind a rest with what is left of one; false when the worker is no
// longer wanted.
bool ThreadPool::wait_for_job(Worker& worker, uint32_t seen) {
    Clock::time_point& until = stint_end;
    auto dismissed = [&] { return worker.index + 1 >= threads_.load(std::memory_order_relaxed); };
    auto arrived = [&] { return number_of(deal_.load(std::memory_order_seq_cst)) != seen; };
    if (!worker.brief.load(std::memory_order_relaxed)) {
        until = never;
        if (!crowded_.load(std::memory_order_relaxed) && spin(arrived, worker_spins))
            return !dismissed();
    } else {
        const Clock::duration left = until == never ? Clock::duration(0) : until - Clock::now();
        if (left.count() > 0 && spin(arrived, std::min<Clock::duration>(left, worker_spins)))
            return !dismissed();
        if (until == never || Clock::now() >= until) {
            rest(worker);
            leave_caller();
            until = Clock::now() + stint;
            if (arrived() || left_of(deal_.load(std::memory_order_seq_cst)) != 0)
                return !dismissed();
        }
    }
    std::unique_lock lock(sleep_mutex_);
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    while (!arrived() && !dismissed()) work_came_.wait(lock);
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
    lock.unlock();
    leave_caller();
    if (until != never) until = Clock::now() + stint;
    return !dismissed();
}

// Systems like to wake a thread where its waker runs, which is where it is of no use.
void ThreadPool::leave_caller() { leave_processor(caller_on_.load(std::memory_order_relaxed)); }

void ThreadPool::rest(Worker& worker) {
    Clock::rep rest = worker.rest.load();
    // Longer ones only as long as it is held up; a change by the caller meanwhile stays.
    worker.rest.compare_exchange_strong(rest, std::max(rest / 2, least_rest.count()));
    std::unique_lock lock(sleep_mutex_);
    work_came_.wait_for(lock, Clock::duration(rest), [&] {
        return worker.index + 1 >= threads_.load(std::memory_order_relaxed);
    });
}

}  // namespace penlight
#endif

bool penlight_context::stint_over() const { return penlight::ThreadPool::stint_over(); }

int64_t penlight_context::visits() const { return pool && pool->has_stints() ? 64 : 1; }

void penlight_parallel_for(penlight_context* context, int64_t count, int64_t grain,
                           void (*body)(void* arg, int64_t begin, int64_t end), void* arg) {
    if (context->thread_count <= 1) {
        if (count > 0) body(arg, 0, count);
        return;
    }
    context->pool->parallel_for(count, grain, body, arg);
}
