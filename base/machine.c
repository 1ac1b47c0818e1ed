// SPDX-License-Identifier: MIT
/* machine.c - the part of os.h that asks the machine: clock, processors, caches, memory, and where this program lies. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 // sched_getaffinity, besides everything of POSIX
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE 1
#endif

#include "base/os.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef _WIN32
#include <io.h>
#include <windows.h>
#include <psapi.h>
#else
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#endif
#ifdef __linux__
#include <sched.h>
#endif
#ifdef __APPLE__
#include <mach-o/dyld.h>
#include <sys/sysctl.h>
#endif

#ifdef _WIN32

double os_now_s(void)
{
    LARGE_INTEGER now, per_second;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&per_second);
    return (double)now.QuadPart / (double)per_second.QuadPart;
}

size_t os_cpu_count(void)
{
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwNumberOfProcessors ? info.dwNumberOfProcessors : 1;
}

size_t os_second_cache_bytes(void)
{
    SYSTEM_LOGICAL_PROCESSOR_INFORMATION list[64];
    DWORD bytes = sizeof list;
    if (!GetLogicalProcessorInformation(list, &bytes)) return 0;
    for (size_t i = 0; i < bytes / sizeof *list; i++)
        if (list[i].Relationship == RelationCache && list[i].Cache.Level == 2) return list[i].Cache.Size;
    return 0;
}

double os_peak_memory_mb(void)
{
    PROCESS_MEMORY_COUNTERS counters;
    return K32GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof counters) ? (double)counters.PeakWorkingSetSize / 1e6 : 0;
}

void os_use_large_pages(void *memory, size_t bytes) { (void)memory, (void)bytes; }

bool os_is_terminal(FILE *file) { return _isatty(_fileno(file)) != 0; }

static bool program_path(char *path, size_t n)
{
    DWORD length = GetModuleFileNameA(NULL, path, (DWORD)n);
    return length > 0 && length < n;
}

char *os_cpu_name(Err *err)
{
    const char *name = getenv("PROCESSOR_IDENTIFIER");
    return mem_copy_text(err, name && *name ? name : "unknown");
}

#else

double os_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

size_t os_cpu_count(void)
{
#ifdef __linux__
    cpu_set_t allowed; // taskset and containers allow fewer than there are
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) > 0) return (size_t)CPU_COUNT(&allowed);
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (size_t)online : 1;
}

size_t os_second_cache_bytes(void)
{
#if defined(__APPLE__)
    uint64_t bytes = 0;
    size_t size = sizeof bytes;
    return sysctlbyname("hw.l2cachesize", &bytes, &size, NULL, 0) ? 0 : (size_t)bytes;
#else
    unsigned kilobytes = 0;
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/cache/index2/size", "r"); // "1280K"; 0 and 1 are the halves of the first
    if (file && fscanf(file, "%5uK", &kilobytes) != 1) kilobytes = 0;
    if (file) fclose(file);
    return (size_t)kilobytes * 1024;
#endif
}

// The value of the first line of `path` that starts with `key`, in buffer; NULL when there is none.
static char *proc_value(char *buffer, size_t n, const char *path, const char *key)
{
    FILE *file = fopen(path, "r");
    char *value = NULL;
    while (file && !value && fgets(buffer, (int)n, file)) {
        if (strncmp(buffer, key, strlen(key)) || !(value = strchr(buffer, ':'))) continue;
        value += 1 + strspn(value + 1, " \t");
        value[strcspn(value, "\n")] = '\0';
    }
    if (file) fclose(file);
    return value;
}

double os_peak_memory_mb(void)
{
    // On Linux ru_maxrss survives exec, so that a program started by a larger one would report that one's peak.
    char buffer[256];
    char *peak = proc_value(buffer, sizeof buffer, "/proc/self/status", "VmHWM");
    if (peak) return (double)strtoull(peak, NULL, 10) * 1024 / 1e6;
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage)) return 0;
#ifdef __APPLE__
    return (double)usage.ru_maxrss / 1e6;
#else
    return (double)usage.ru_maxrss * 1024 / 1e6;
#endif
}

void os_use_large_pages(void *memory, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    size_t page = (size_t)sysconf(_SC_PAGESIZE), before = (page - (uintptr_t)memory % page) % page;
    if (before < bytes) madvise((char *)memory + before, (bytes - before) / page * page, MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
#endif
}

bool os_is_terminal(FILE *file) { return isatty(fileno(file)) == 1; }

static bool program_path(char *path, size_t n)
{
#ifdef __APPLE__
    uint32_t size = (uint32_t)n;
    return _NSGetExecutablePath(path, &size) == 0;
#else
    ssize_t length = readlink("/proc/self/exe", path, n);
    if (length <= 0 || (size_t)length >= n) return false;
    path[length] = '\0';
    return true;
#endif
}

char *os_cpu_name(Err *err)
{
    char buffer[512];
#ifdef __APPLE__
    size_t n = sizeof buffer;
    if (sysctlbyname("machdep.cpu.brand_string", buffer, &n, NULL, 0) == 0) return mem_copy_text(err, buffer);
#endif
    const char *keys[] = {"model name", "Model", "cpu model", "Hardware", "CPU part"}; // x86, ARM boards, MIPS; else a number
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char *name = proc_value(buffer, sizeof buffer, "/proc/cpuinfo", keys[i]);
        if (name && *name) return mem_copy_text(err, name);
    }
    return mem_copy_text(err, "unknown");
}

#endif

char *os_program_path(Err *err)
{
    char path[4096];
    if (program_path(path, sizeof path)) return mem_copy_text(err, path);
    err_failed(err, "this system does not tell where the program is, so it cannot be started again");
    return NULL;
}

char *os_program_folder(Err *err)
{
    char path[4096];
    if (!program_path(path, sizeof path)) return NULL;
    size_t n = strlen(path);
#ifdef _WIN32
    while (n && !strchr("/\\", path[n - 1])) n--;
#else
    while (n && path[n - 1] != '/') n--;
#endif
    return mem_copy_bytes(err, path, n ? n - 1 : 0);
}
