/* What the stand-in acts out: a plain-text script, one "key value..." per line, read once into these values.
 *
 *   driver TEXT               what nvmlSystemGetDriverVersion says
 *   clock real|manual         real: CLOCK_MONOTONIC since load; manual: what standin_set_time_s said last, 0 at first
 *   epoch_monotonic_ns N      time 0 on CLOCK_MONOTONIC, for processes that shall see the same at the same time
 *   init_error CODE           what nvmlInit answers
 *   error FUNCTION CODE       what that function answers, always
 *   gpu                       the lines that follow, up to the next such line, are of one GPU:
 *   name TEXT, uuid TEXT
 *   power|temperature|sm_clock|memory_clock PIECE   see course.h; watts, degrees Celsius, megahertz
 *   counter OFFSET_J REFRESH_S PHASE_S   without this line the energy counter is not supported
 *   sensor AVERAGING_S REFRESH_S INSTANT(0|1)   without it the power is not supported; INSTANT: whether field 186 is
 *   cap MIN_W NOW_W MAX_W, architecture N, capability MAJOR MINOR, mig 0|1, memory TOTAL USED, utilisation PERCENT
 *   lost AT_S, reset AT_S, frozen FROM_S TO_S
 *   throttle FROM_S TO_S MASK, process FROM_S TO_S PID, counter_away FROM_S TO_S 0, power_away FROM_S TO_S 0
 *   tells throttle|processes|violations   without these lines they are not supported
 */

#ifndef STANDIN_SCRIPT_H
#define STANDIN_SCRIPT_H

#include "course.h"

#define TEXT_BYTES 96
#define MOST_GPUS 16
#define MOST_ERRORS 32
#define MOST_SPANS 64

/* Something that holds from one time up to another, in nanoseconds. */
typedef struct {
    long long from_ns, to_ns;
    unsigned long long what;
} Span;

typedef struct {
    Span spans[MOST_SPANS];
    size_t count;
} Spans;

typedef struct {
    char name[TEXT_BYTES], uuid[TEXT_BYTES];
    Course power, temperature, sm_clock, memory_clock;
    int has_counter, has_power, has_field_186, has_cap, has_mig, has_memory;
    int tells_throttle, tells_processes, tells_violations;
    double offset_j, averaging_s, least_cap_w, cap_w, most_cap_w;
    long long refresh_ns, refresh_phase_ns, power_refresh_ns;
    long long lost_ns, reset_ns, frozen_from_ns, frozen_to_ns;
    int architecture, capability_major, capability_minor, mig, utilisation; /* -1: not supported */
    unsigned long long memory_bytes, memory_used_bytes;
    Spans throttle, processes, counter_away, power_away;
} Gpu;

typedef struct {
    char driver[TEXT_BYTES];
    int manual, init_error;
    long long epoch_ns;
    size_t error_count, gpu_count;
    struct {
        char function[TEXT_BYTES];
        int code;
    } errors[MOST_ERRORS];
    Gpu gpus[MOST_GPUS];
} Script;

/* The script of a file; NULL where it cannot be used, then `line` is the number of the line (0: the file itself). */
Script *script_read(const char *path, int *line);

/* The latest span that holds at a time, or NULL. */
const Span *span_at(const Spans *spans, long long now_ns);

long long monotonic_ns(void);

#endif
