/* A stand-in for NVIDIA's libnvidia-ml.so.1 that acts out a script (script.h), for tests on machines without a GPU.
 *
 * It calls itself a stand-in in its driver version. Without a script it says, like a machine without a driver, that
 * none is loaded. The layouts of structures are those that NVIDIA's own Python bindings (nvidia-ml-py) declare.
 * standin_load, standin_set_time_s, standin_time_s and standin_epoch_monotonic_ns are not NVML's.
 */

#include "answer.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELD_POWER_AVERAGE = 185, FIELD_POWER_INSTANT = 186 };
enum { TYPE_UNSIGNED_INT = 1 };

/* Replaced scripts are never freed: another thread may be reading, and a test process loads few of them. */
static _Atomic(Script *) current;
static _Atomic long long manual_ns;
static atomic_int users;

long long standin_now_ns(const Script *script) {
    return script->manual ? atomic_load(&manual_ns) : monotonic_ns() - script->epoch_ns;
}

/* ---- the script and the time ---- */

/* Acts out the script of that file from now on; NULL: none. Returns 0, or the number of the line it cannot read
 * (-1: the file cannot be read). Everybody has to call nvmlInit again. */
API int standin_load(const char *path) {
    Script *script = NULL;
    if (path != NULL) {
        int line;
        script = script_read(path, &line);
        if (script == NULL)
            return line == 0 ? -1 : line;
    }
    atomic_store(&manual_ns, 0);
    atomic_store(&users, 0);
    atomic_store(&current, script);
    return 0;
}

API void standin_set_time_s(double t_s) { atomic_store(&manual_ns, llround(t_s * 1e9)); }

API double standin_time_s(void) {
    const Script *script = atomic_load(&current);
    return script == NULL ? NAN : (double)standin_now_ns(script) * 1e-9;
}

API long long standin_epoch_monotonic_ns(void) {
    const Script *script = atomic_load(&current);
    return script == NULL ? -1 : script->epoch_ns;
}

/* ---- life cycle ---- */

static Return scripted_error(const Script *script, const char *function) {
    for (size_t i = 0; i < script->error_count; i++)
        if (strcmp(script->errors[i].function, function) == 0)
            return script->errors[i].code;
    return SUCCESS;
}

API Return nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    const char *path = getenv("CARBONSWEEP_NVML_STANDIN");
    if (atomic_load(&current) == NULL && path != NULL && *path != 0) {
        int line = standin_load(path);
        if (line != 0) {
            fprintf(stderr, "NVML stand-in: cannot use line %d of %s\n", line, path);
            return UNKNOWN;
        }
    }
    const Script *script = atomic_load(&current);
    if (script == NULL)
        return DRIVER_NOT_LOADED;
    if (script->init_error == SUCCESS)
        atomic_fetch_add(&users, 1);
    return script->init_error;
}

API Return nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
API Return nvmlInit(void) { return nvmlInitWithFlags(0); }

API Return nvmlShutdown(void) {
    if (atomic_load(&users) <= 0)
        return UNINITIALIZED;
    atomic_fetch_sub(&users, 1);
    return SUCCESS;
}

API const char *nvmlErrorString(Return result) {
    switch (result) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case 13: return "Function Not Found";
    case GPU_IS_LOST: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

Return standin_begin(const char *function, const Script **script) {
    *script = atomic_load(&current);
    if (*script == NULL || atomic_load(&users) <= 0)
        return UNINITIALIZED;
    return scripted_error(*script, function);
}

static Return give_text(char *into, unsigned bytes, const char *value) {
    if (into == NULL)
        return INVALID_ARGUMENT;
    if (strlen(value) >= bytes)
        return INSUFFICIENT_SIZE;
    strcpy(into, value);
    return SUCCESS;
}

/* ---- system and devices ---- */

API Return nvmlSystemGetDriverVersion(char *version, unsigned bytes) {
    SCRIPT;
    return give_text(version, bytes, script->driver);
}

API Return nvmlSystemGetNVMLVersion(char *version, unsigned bytes) {
    SCRIPT;
    return give_text(version, bytes, script->driver);
}

API Return nvmlSystemGetCudaDriverVersion_v2(int *version) {
    SCRIPT;
    (void)version;
    return NOT_SUPPORTED; /* there is no CUDA here */
}

API Return nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }

API Return nvmlDeviceGetCount_v2(unsigned *count) {
    SCRIPT;
    GIVE(count, (unsigned)script->gpu_count);
}

API Return nvmlDeviceGetCount(unsigned *count) { return nvmlDeviceGetCount_v2(count); }

API Return nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *device) {
    SCRIPT;
    if (index >= script->gpu_count)
        return INVALID_ARGUMENT;
    GIVE(device, (Device)(uintptr_t)(index + 1));
}

API Return nvmlDeviceGetHandleByIndex(unsigned index, Device *device) {
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

API Return nvmlDeviceGetHandleByUUID(const char *uuid, Device *device) {
    SCRIPT;
    if (uuid == NULL)
        return INVALID_ARGUMENT;
    for (size_t i = 0; i < script->gpu_count; i++)
        if (strcmp(script->gpus[i].uuid, uuid) == 0)
            GIVE(device, (Device)(uintptr_t)(i + 1));
    return NOT_FOUND;
}

API Return nvmlDeviceGetIndex(Device device, unsigned *index) {
    GPU;
    GIVE(index, (unsigned)(place - 1));
}

API Return nvmlDeviceGetName(Device device, char *name, unsigned bytes) {
    GPU;
    return give_text(name, bytes, gpu->name);
}

API Return nvmlDeviceGetUUID(Device device, char *uuid, unsigned bytes) {
    GPU;
    return give_text(uuid, bytes, gpu->uuid);
}

/* ---- energy and power ---- */

/* The moment a reading stands for: held while frozen, and the last refresh. */
static long long shown_ns(const Gpu *gpu, long long now, long long refresh_ns, long long phase_ns) {
    if (gpu->frozen_from_ns <= now && now < gpu->frozen_to_ns)
        now = gpu->frozen_from_ns;
    if (refresh_ns <= 0)
        return now;
    long long into = (now - phase_ns) % refresh_ns;
    return now - (into < 0 ? into + refresh_ns : into);
}

/* Whole thousandths, cut off; a millionth of one more is what a decimal fraction lacks in binary. */
static double thousandths(double value) { return floor(value * 1e3 + 1e-6); }

API Return nvmlDeviceGetTotalEnergyConsumption(Device device, unsigned long long *energy_mj) {
    GPU;
    if (!gpu->has_counter)
        return NOT_SUPPORTED;
    if (span_at(&gpu->counter_away, now) != NULL)
        return UNKNOWN;
    long long shown = shown_ns(gpu, now, gpu->refresh_ns, gpu->refresh_phase_ns);
    double joules = gpu->offset_j + course_integral(&gpu->power, (double)shown * 1e-9);
    if (now >= gpu->reset_ns) {
        long long since = shown > gpu->reset_ns ? shown : gpu->reset_ns;
        joules = course_integral(&gpu->power, (double)since * 1e-9) -
                 course_integral(&gpu->power, (double)gpu->reset_ns * 1e-9);
    }
    GIVE(energy_mj, (unsigned long long)thousandths(fmax(joules, 0)));
}

static Return sensed_mw(const Gpu *gpu, long long now, double averaging_s, unsigned *power_mw) {
    if (!gpu->has_power)
        return NOT_SUPPORTED;
    if (span_at(&gpu->power_away, now) != NULL)
        return UNKNOWN;
    long long shown = shown_ns(gpu, now, gpu->power_refresh_ns, 0);
    GIVE(power_mw, (unsigned)thousandths(course_mean(&gpu->power, (double)shown * 1e-9, averaging_s)));
}

API Return nvmlDeviceGetPowerUsage(Device device, unsigned *power_mw) {
    GPU;
    return sensed_mw(gpu, now, gpu->averaging_s, power_mw);
}

typedef struct {
    uint32_t field, scope;
    int64_t timestamp_us, latency_us;
    unsigned type;
    Return result;
    union {
        double real;
        unsigned natural;
        unsigned long long wide;
    } value;
} FieldValue;

static Return field_mw(const Gpu *gpu, long long now, const FieldValue *asked, unsigned *power_mw) {
    if (asked->scope != 0)
        return NOT_SUPPORTED;
    if (asked->field == FIELD_POWER_INSTANT && gpu->has_field_186)
        return sensed_mw(gpu, now, 0, power_mw);
    if (asked->field == FIELD_POWER_AVERAGE)
        return sensed_mw(gpu, now, gpu->averaging_s, power_mw);
    return NOT_SUPPORTED;
}

API Return nvmlDeviceGetFieldValues(Device device, int count, FieldValue *values) {
    GPU;
    if (count < 1 || values == NULL)
        return INVALID_ARGUMENT;
    for (int i = 0; i < count; i++) {
        values[i].value.wide = 0;
        values[i].type = TYPE_UNSIGNED_INT;
        values[i].timestamp_us = now / 1000;
        values[i].latency_us = 0;
        values[i].result = field_mw(gpu, now, &values[i], &values[i].value.natural);
    }
    return SUCCESS;
}

API Return nvmlDeviceGetEnforcedPowerLimit(Device device, unsigned *limit_mw) {
    GPU;
    GIVE_IF(gpu->has_cap, limit_mw, (unsigned)thousandths(gpu->cap_w));
}

API Return nvmlDeviceGetPowerManagementLimit(Device device, unsigned *limit_mw) {
    GPU;
    GIVE_IF(gpu->has_cap, limit_mw, (unsigned)thousandths(gpu->cap_w));
}

API Return nvmlDeviceGetPowerManagementDefaultLimit(Device device, unsigned *limit_mw) {
    GPU;
    GIVE_IF(gpu->has_cap, limit_mw, (unsigned)thousandths(gpu->most_cap_w));
}

API Return nvmlDeviceGetPowerManagementLimitConstraints(Device device, unsigned *least_mw, unsigned *most_mw) {
    GPU;
    if (!gpu->has_cap)
        return NOT_SUPPORTED;
    if (least_mw == NULL)
        return INVALID_ARGUMENT;
    *least_mw = (unsigned)thousandths(gpu->least_cap_w);
    GIVE(most_mw, (unsigned)thousandths(gpu->most_cap_w));
}
