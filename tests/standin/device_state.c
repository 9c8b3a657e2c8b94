/* What the stand-in says of a GPU beside its power: heat, clocks, throttling, memory, processes, what kind it is. */

#include "answer.h"

#include <math.h>
#include <string.h>

enum { CLOCK_GRAPHICS = 0, CLOCK_SM = 1, CLOCK_MEMORY = 2 };
enum { POLICY_POWER = 0, POLICY_THERMAL = 1 };
#define POWER_REASONS 0x84ULL   /* software power cap, hardware power brake */
#define THERMAL_REASONS 0x60ULL /* software and hardware thermal slowdown */

static double seconds(long long ns) { return (double)ns * 1e-9; }

/* ---- heat and clocks ---- */

API Return nvmlDeviceGetTemperature(Device device, unsigned sensor, unsigned *celsius) {
    GPU;
    if (sensor != 0)
        return INVALID_ARGUMENT;
    if (gpu->temperature.count == 0)
        return NOT_SUPPORTED;
    GIVE(celsius, (unsigned)lround(course_value(&gpu->temperature, seconds(now))));
}

typedef struct {
    unsigned version, sensor;
    int celsius;
} Temperature;

API Return nvmlDeviceGetTemperatureV(Device device, Temperature *temperature) {
    GPU;
    if (temperature == NULL || temperature->sensor != 0)
        return INVALID_ARGUMENT;
    if (gpu->temperature.count == 0)
        return NOT_SUPPORTED;
    GIVE(&temperature->celsius, (int)lround(course_value(&gpu->temperature, seconds(now))));
}

API Return nvmlDeviceGetClockInfo(Device device, unsigned kind, unsigned *mhz) {
    GPU;
    if (kind != CLOCK_GRAPHICS && kind != CLOCK_SM && kind != CLOCK_MEMORY)
        return NOT_SUPPORTED;
    const Course *clock = kind == CLOCK_MEMORY ? &gpu->memory_clock : &gpu->sm_clock;
    if (clock->count == 0)
        return NOT_SUPPORTED;
    GIVE(mhz, (unsigned)lround(course_value(clock, seconds(now))));
}

/* ---- throttling ---- */

API Return nvmlDeviceGetCurrentClocksEventReasons(Device device, unsigned long long *reasons) {
    GPU;
    const Span *span = span_at(&gpu->throttle, now);
    GIVE_IF(gpu->tells_throttle, reasons, span == NULL ? 0 : span->what);
}

API Return nvmlDeviceGetCurrentClocksThrottleReasons(Device device, unsigned long long *reasons) {
    GPU;
    const Span *span = span_at(&gpu->throttle, now);
    GIVE_IF(gpu->tells_throttle, reasons, span == NULL ? 0 : span->what);
}

typedef struct {
    unsigned long long reference_us, violation_ns;
} Violation;

/* Time that has passed in spans, which do not overlap, of one of these reasons. */
static unsigned long long spent_ns(const Spans *spans, unsigned long long reasons, long long now) {
    long long spent = 0;
    for (size_t i = 0; i < spans->count; i++) {
        const Span *span = &spans->spans[i];
        if ((span->what & reasons) != 0 && now > span->from_ns)
            spent += (now < span->to_ns ? now : span->to_ns) - span->from_ns;
    }
    return (unsigned long long)spent;
}

API Return nvmlDeviceGetViolationStatus(Device device, unsigned policy, Violation *violation) {
    GPU;
    if (!gpu->tells_violations || (policy != POLICY_POWER && policy != POLICY_THERMAL))
        return NOT_SUPPORTED;
    unsigned long long reasons = policy == POLICY_POWER ? POWER_REASONS : THERMAL_REASONS;
    Violation answer = {(unsigned long long)(now / 1000), spent_ns(&gpu->throttle, reasons, now)};
    GIVE(violation, answer);
}

/* ---- memory and processes ---- */

typedef struct {
    unsigned long long total, free, used;
} Memory;

API Return nvmlDeviceGetMemoryInfo(Device device, Memory *memory) {
    GPU;
    Memory answer = {gpu->memory_bytes, gpu->memory_bytes - gpu->memory_used_bytes, gpu->memory_used_bytes};
    GIVE_IF(gpu->has_memory, memory, answer);
}

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} Memory2;

API Return nvmlDeviceGetMemoryInfo_v2(Device device, Memory2 *memory) {
    GPU;
    if (memory == NULL)
        return INVALID_ARGUMENT;
    Memory2 answer = {memory->version, gpu->memory_bytes, 0, gpu->memory_bytes - gpu->memory_used_bytes,
                      gpu->memory_used_bytes};
    GIVE_IF(gpu->has_memory, memory, answer);
}

typedef struct {
    unsigned pid;
    unsigned long long used_bytes;
    unsigned gpu_instance, compute_instance;
} Process;

API Return nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned *count, Process *processes) {
    GPU;
    if (!gpu->tells_processes)
        return NOT_SUPPORTED;
    if (count == NULL)
        return INVALID_ARGUMENT;
    unsigned room = processes == NULL ? 0 : *count, running = 0;
    for (size_t i = 0; i < gpu->processes.count; i++) {
        const Span *span = &gpu->processes.spans[i];
        if (now < span->from_ns || now >= span->to_ns)
            continue;
        if (running < room) /* all ones: NVML's word for "not available" */
            processes[running] = (Process){(unsigned)span->what, ~0ULL, ~0U, ~0U};
        running++;
    }
    *count = running;
    return running > room ? INSUFFICIENT_SIZE : SUCCESS;
}

API Return nvmlDeviceGetMPSComputeRunningProcesses_v3(Device device, unsigned *count, Process *processes) {
    GPU;
    (void)processes;
    GIVE_IF(gpu->tells_processes, count, 0);
}

typedef struct {
    unsigned gpu, memory;
} Utilisation;

API Return nvmlDeviceGetUtilizationRates(Device device, Utilisation *rates) {
    GPU;
    Utilisation answer = {(unsigned)gpu->utilisation, (unsigned)gpu->utilisation};
    GIVE_IF(gpu->utilisation >= 0, rates, answer);
}

/* ---- what kind of GPU it is ---- */

API Return nvmlDeviceGetArchitecture(Device device, unsigned *architecture) {
    GPU;
    GIVE_IF(gpu->architecture >= 0, architecture, (unsigned)gpu->architecture);
}

API Return nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor) {
    GPU;
    if (gpu->capability_major < 0)
        return NOT_SUPPORTED;
    if (major == NULL)
        return INVALID_ARGUMENT;
    *major = gpu->capability_major;
    GIVE(minor, gpu->capability_minor);
}

API Return nvmlDeviceGetComputeMode(Device device, unsigned *mode) {
    GPU;
    GIVE(mode, 0); /* any number of processes may use it */
}

API Return nvmlDeviceGetMigMode(Device device, unsigned *present, unsigned *pending) {
    GPU;
    if (!gpu->has_mig)
        return NOT_SUPPORTED;
    if (present == NULL)
        return INVALID_ARGUMENT;
    *present = (unsigned)gpu->mig;
    GIVE(pending, (unsigned)gpu->mig);
}

API Return nvmlDeviceGetC2cModeInfoV(Device device, void *info) {
    GPU;
    (void)info;
    return NOT_SUPPORTED; /* no processor on the board */
}
