/* Reading a script. */

#include "script.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

long long monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

const Span *span_at(const Spans *spans, long long now_ns) {
    for (size_t i = spans->count; i-- > 0;)
        if (spans->spans[i].from_ns <= now_ns && now_ns < spans->spans[i].to_ns)
            return &spans->spans[i];
    return NULL;
}

static long long nanoseconds(double s) {
    return s >= 9e9 ? LLONG_MAX : llround(s * 1e9);
}

static int text(char *into, const char *value) {
    if (*value == 0 || strlen(value) >= TEXT_BYTES)
        return 0;
    strcpy(into, value);
    return 1;
}

static int add_span(Spans *spans, const char *value) {
    double from_s, to_s;
    unsigned long long what;
    if (spans->count == MOST_SPANS || sscanf(value, "%lf %lf %llu", &from_s, &to_s, &what) != 3)
        return 0;
    spans->spans[spans->count++] = (Span){nanoseconds(from_s), nanoseconds(to_s), what};
    return 1;
}

static int moment(long long *into_ns, const char *value) {
    double s;
    if (sscanf(value, "%lf", &s) != 1)
        return 0;
    *into_ns = nanoseconds(s);
    return 1;
}

static int add_gpu(Script *script) {
    if (script->gpu_count == MOST_GPUS)
        return 0;
    Gpu *gpu = &script->gpus[script->gpu_count++];
    gpu->lost_ns = gpu->reset_ns = gpu->frozen_from_ns = gpu->frozen_to_ns = LLONG_MAX;
    gpu->architecture = gpu->capability_major = gpu->capability_minor = gpu->utilisation = -1;
    return 1;
}

static int read_counter(Gpu *gpu, const char *value) {
    double refresh_s, phase_s;
    if (sscanf(value, "%lf %lf %lf", &gpu->offset_j, &refresh_s, &phase_s) != 3)
        return 0;
    gpu->refresh_ns = nanoseconds(refresh_s);
    gpu->refresh_phase_ns = nanoseconds(phase_s);
    return gpu->has_counter = 1;
}

static int read_sensor(Gpu *gpu, const char *value) {
    double refresh_s;
    if (sscanf(value, "%lf %lf %d", &gpu->averaging_s, &refresh_s, &gpu->has_field_186) != 3)
        return 0;
    gpu->power_refresh_ns = nanoseconds(refresh_s);
    return gpu->has_power = 1;
}

static int read_frozen(Gpu *gpu, const char *value) {
    double from_s, to_s;
    if (sscanf(value, "%lf %lf", &from_s, &to_s) != 2)
        return 0;
    gpu->frozen_from_ns = nanoseconds(from_s);
    gpu->frozen_to_ns = nanoseconds(to_s);
    return 1;
}

static int read_tells(Gpu *gpu, const char *value) {
    if (strcmp(value, "throttle") == 0)
        return gpu->tells_throttle = 1;
    if (strcmp(value, "processes") == 0)
        return gpu->tells_processes = 1;
    return strcmp(value, "violations") == 0 ? (gpu->tells_violations = 1) : 0;
}

#define IS(word) (strcmp(key, word) == 0)

static int read_gpu_line(Gpu *gpu, const char *key, const char *value) {
    if (IS("name")) return text(gpu->name, value);
    if (IS("uuid")) return text(gpu->uuid, value);
    if (IS("power")) return course_append(&gpu->power, value);
    if (IS("temperature")) return course_append(&gpu->temperature, value);
    if (IS("sm_clock")) return course_append(&gpu->sm_clock, value);
    if (IS("memory_clock")) return course_append(&gpu->memory_clock, value);
    if (IS("counter")) return read_counter(gpu, value);
    if (IS("sensor")) return read_sensor(gpu, value);
    if (IS("cap"))
        return gpu->has_cap = sscanf(value, "%lf %lf %lf", &gpu->least_cap_w, &gpu->cap_w, &gpu->most_cap_w) == 3;
    if (IS("architecture")) return sscanf(value, "%d", &gpu->architecture) == 1;
    if (IS("capability")) return sscanf(value, "%d %d", &gpu->capability_major, &gpu->capability_minor) == 2;
    if (IS("mig")) return gpu->has_mig = sscanf(value, "%d", &gpu->mig) == 1;
    if (IS("memory"))
        return gpu->has_memory = sscanf(value, "%llu %llu", &gpu->memory_bytes, &gpu->memory_used_bytes) == 2;
    if (IS("utilisation")) return sscanf(value, "%d", &gpu->utilisation) == 1;
    if (IS("lost")) return moment(&gpu->lost_ns, value);
    if (IS("reset")) return moment(&gpu->reset_ns, value);
    if (IS("frozen")) return read_frozen(gpu, value);
    if (IS("throttle")) return add_span(&gpu->throttle, value);
    if (IS("process")) return add_span(&gpu->processes, value);
    if (IS("counter_away")) return add_span(&gpu->counter_away, value);
    if (IS("power_away")) return add_span(&gpu->power_away, value);
    return IS("tells") ? read_tells(gpu, value) : 0;
}

static int read_error(Script *script, const char *value) {
    if (script->error_count == MOST_ERRORS)
        return 0;
    size_t i = script->error_count++;
    return sscanf(value, "%95s %d", script->errors[i].function, &script->errors[i].code) == 2;
}

static int read_line(Script *script, const char *key, const char *value) {
    if (IS("gpu")) return add_gpu(script);
    if (script->gpu_count > 0)
        return read_gpu_line(&script->gpus[script->gpu_count - 1], key, value);
    if (IS("driver")) return text(script->driver, value);
    if (IS("clock")) {
        script->manual = strcmp(value, "manual") == 0;
        return script->manual || strcmp(value, "real") == 0;
    }
    if (IS("epoch_monotonic_ns")) return sscanf(value, "%lld", &script->epoch_ns) == 1;
    if (IS("init_error")) return sscanf(value, "%d", &script->init_error) == 1;
    return IS("error") ? read_error(script, value) : 0;
}

Script *script_read(const char *path, int *line) {
    *line = 0;
    FILE *file = fopen(path, "r");
    Script *script = calloc(1, sizeof *script);
    if (file == NULL || script == NULL) {
        free(script);
        return NULL;
    }
    script->epoch_ns = monotonic_ns();
    char buffer[512];
    int fine = 1;
    while (fine && fgets(buffer, sizeof buffer, file) != NULL) {
        ++*line;
        buffer[strcspn(buffer, "\n")] = 0;
        char *value = buffer + strcspn(buffer, " ");
        if (*value != 0)
            *value++ = 0;
        fine = read_line(script, buffer, value);
    }
    fclose(file);
    for (size_t i = 0; fine && i < script->gpu_count; i++)
        fine = script->gpus[i].power.count > 0 && *script->gpus[i].uuid != 0;
    return fine ? script : NULL; /* what a bad script took is small, and the test it belongs to fails */
}
