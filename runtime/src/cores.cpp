// How many threads to use when nobody says: the cores that are fast and ours.
#include "threads.h"

#if defined(__linux__)
#include <sched.h>

#include <cstdio>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#ifndef PENLIGHT_SINGLE_THREADED
#include <thread>
#endif

namespace penlight {

#if defined(PENLIGHT_SINGLE_THREADED)

uint32_t default_thread_count() { return 1; }

#elif defined(__linux__)
namespace {

// The first number in a file of /sys, or -1.
long read_number(const char* format, int cpu) {
    char path[128];
    std::snprintf(path, sizeof path, format, cpu);
    std::FILE* file = std::fopen(path, "r");
    if (!file) return -1;
    long number = -1;
    if (std::fscanf(file, "%ld", &number) != 1) number = -1;
    std::fclose(file);
    return number;
}

// How fast a core is at most: the kernel's own measure where it has one (Arm), else its clock.
long speed_of(int cpu) {
    long capacity = read_number("/sys/devices/system/cpu/cpu%d/cpu_capacity", cpu);
    if (capacity > 0) return capacity;
    return read_number("/sys/devices/system/cpu/cpu%d/cpufreq/cpuinfo_max_freq", cpu);
}

// Processors that a container's quota allows, or a large number.
uint32_t quota() {
    std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r");
    if (!file) return ThreadPool::max_threads;
    long long used = 0, period = 0;
    int fields = std::fscanf(file, "%lld %lld", &used, &period);  // "max 100000" when unlimited
    std::fclose(file);
    if (fields != 2 || used <= 0 || period <= 0) return ThreadPool::max_threads;
    long long whole = (used + period - 1) / period;
    return whole < ThreadPool::max_threads ? static_cast<uint32_t>(whole) : ThreadPool::max_threads;
}

}  // namespace

uint32_t default_thread_count() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
    long fastest = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed)) continue;
        long speed = speed_of(cpu);
        if (speed > fastest) fastest = speed;
    }
    uint32_t cores = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed)) continue;
        // Two threads of one core share its arithmetic units: count the first that we may use.
        long first =
            read_number("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        if (first >= 0 && first < cpu && CPU_ISSET(static_cast<int>(first), &allowed)) continue;
        // Efficiency cores reach about 2/3 of the clock of the others, or less.
        if (fastest > 0 && speed_of(cpu) * 4 < fastest * 3) continue;
        cores++;
    }
    uint32_t limit = quota();
    if (cores > limit) cores = limit;
    return cores < 1 ? 1 : cores;
}

#else

uint32_t default_thread_count() {
#if defined(__APPLE__)
    int cores = 0;
    size_t size = sizeof cores;
    if (sysctlbyname("hw.perflevel0.physicalcpu", &cores, &size, nullptr, 0) == 0 && cores > 0)
        return static_cast<uint32_t>(cores);
#endif
    uint32_t threads = std::thread::hardware_concurrency();
    return threads < 1 ? 1 : threads;
}

#endif

}  // namespace penlight
