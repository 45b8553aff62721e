// How many threads to use when nobody says: the cores that are fast and ours.
#include "threads.h"

#if defined(__linux__)
#include <limits.h>
#include <sched.h>

#include <cstdio>
#include <cstring>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#ifndef PENLIGHT_SINGLE_THREADED
#include <thread>
#endif

namespace penlight {

#if defined(PENLIGHT_SINGLE_THREADED)

uint32_t default_thread_count() { return 1; }
uint32_t processor_count() { return 1; }

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

// The first number of a file, or two; false if there are not so many, as in "max 100000".
bool read_numbers(const char* path, long long* first, long long* second) {
    std::FILE* file = std::fopen(path, "r");
    if (!file) return false;
    bool found = std::fscanf(file, "%lld", first) == 1 &&
                 (!second || std::fscanf(file, "%lld", second) == 1);
    std::fclose(file);
    return found;
}

uint32_t rounded_up(long long used, long long period) {
    if (used <= 0 || period <= 0) return UINT32_MAX;
    long long whole = (used - 1) / period + 1;
    return whole < UINT32_MAX ? static_cast<uint32_t>(whole) : UINT32_MAX;
}

// The limit of one group, of either version of control groups.
uint32_t group_quota(const char* folder) {
    char path[PATH_MAX];
    long long used = 0, period = 0;
    std::snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (read_numbers(path, &used, &period)) return rounded_up(used, period);
    std::snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (!read_numbers(path, &used, nullptr)) return UINT32_MAX;
    std::snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    return read_numbers(path, &period, nullptr) ? rounded_up(used, period) : UINT32_MAX;
}

// Is "cpu" in a list such as "cpu,cpuacct"?
bool lists_cpu(const char* list, const char* end) {
    while (list < end) {
        const char* comma = static_cast<const char*>(std::memchr(list, ',', end - list));
        const char* stop = comma ? comma : end;
        if (stop - list == 3 && std::memcmp(list, "cpu", 3) == 0) return true;
        list = stop + 1;
    }
    return false;
}

// The tightest limit on the way from a group up to where the groups are mounted.
uint32_t quota_upwards(const char* mount, const char* group) {
    char folder[PATH_MAX];
    int length = std::snprintf(folder, sizeof folder, "%s%s", mount, group);
    if (length < 0 || static_cast<size_t>(length) >= sizeof folder) return UINT32_MAX;
    uint32_t limit = group_quota(folder);
    for (char* slash; (slash = std::strrchr(folder + std::strlen(mount), '/'));) {
        *slash = 0;
        uint32_t found = group_quota(folder);
        if (found < limit) limit = found;
    }
    return limit;
}

}  // namespace

uint32_t processor_quota(const char* groups, const char* root) {
    std::FILE* file = std::fopen(groups, "r");
    if (!file) return UINT32_MAX;
    uint32_t limit = UINT32_MAX;
    char line[PATH_MAX];
    while (std::fgets(line, sizeof line, file)) {  // number:controllers:path
        line[std::strcspn(line, "\n")] = 0;
        char* list = std::strchr(line, ':');
        char* group = list ? std::strchr(list + 1, ':') : nullptr;
        if (!group) continue;
        bool unified = group == list + 1;
        if (!unified && !lists_cpu(list + 1, group)) continue;
        char mount[PATH_MAX];
        std::snprintf(mount, sizeof mount, unified ? "%s" : "%s/cpu", root);
        uint32_t found = quota_upwards(mount, group + 1);
        if (found < limit) limit = found;
    }
    std::fclose(file);
    return limit;
}

uint32_t processor_count() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
    int count = CPU_COUNT(&allowed);
    return count < 1 ? 1 : static_cast<uint32_t>(count);
}

int current_processor() { return sched_getcpu(); }

void leave_processor(int processor) {
    cpu_set_t allowed, others;
    CPU_ZERO(&allowed);
    if (processor < 0 || processor >= CPU_SETSIZE || sched_getcpu() != processor ||
        sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    others = allowed;
    CPU_CLR(processor, &others);
    // Where it is moved to, it stays when all are allowed again.
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0)
        sched_setaffinity(0, sizeof allowed, &allowed);
}

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
    uint32_t limit = processor_quota("/proc/self/cgroup", "/sys/fs/cgroup");
    if (cores > limit) cores = limit;
    return cores < 1 ? 1 : cores;
}

#else

int current_processor() { return -1; }
void leave_processor(int) {}

uint32_t default_thread_count() {
#if defined(__APPLE__)
    int cores = 0;
    size_t size = sizeof cores;
    if (sysctlbyname("hw.perflevel0.physicalcpu", &cores, &size, nullptr, 0) == 0 && cores > 0)
        return static_cast<uint32_t>(cores);
#endif
    return processor_count();
}

uint32_t processor_count() {
    uint32_t threads = std::thread::hardware_concurrency();
    return threads < 1 ? 1 : threads;
}

#endif

}  // namespace penlight
