/* How every exported function answers: NVML's return codes, and what each call checks before it says anything. */

#ifndef STANDIN_ANSWER_H
#define STANDIN_ANSWER_H

#include "script.h"

#include <stdint.h>

#define API __attribute__((visibility("default")))

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    GPU_IS_LOST = 15,
    UNKNOWN = 999
};

typedef int Return;
typedef struct opaque *Device; /* the GPU's index + 1, so that one of an earlier script is harmless */

/* The script, and what `function` answers where there is nothing more to say. */
Return standin_begin(const char *function, const Script **script);

/* Nanoseconds since the script's time 0. */
long long standin_now_ns(const Script *script);

/* What every function begins with. */
#define SCRIPT \
    const Script *script; \
    Return early = standin_begin(__func__, &script); \
    if (early != SUCCESS) \
        return early

/* Likewise for those about one GPU, which may be lost. */
#define GPU \
    SCRIPT; \
    size_t place = (size_t)(uintptr_t)device; \
    if (place == 0 || place > script->gpu_count) \
        return INVALID_ARGUMENT; \
    const Gpu *gpu = &script->gpus[place - 1]; \
    long long now = standin_now_ns(script); \
    (void)now; \
    if (now >= gpu->lost_ns) \
        return GPU_IS_LOST

#define GIVE(pointer, value) \
    do { \
        if ((pointer) == NULL) \
            return INVALID_ARGUMENT; \
        *(pointer) = (value); \
        return SUCCESS; \
    } while (0)

#define GIVE_IF(supported, pointer, value) \
    do { \
        if (!(supported)) \
            return NOT_SUPPORTED; \
        GIVE(pointer, value); \
    } while (0)

#endif
