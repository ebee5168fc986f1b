/* The parts of NVML's interface that the double offers: types as nvidia-ml-py lays them out. */
#ifndef NVML_DOUBLE_ENTRY_H
#define NVML_DOUBLE_ENTRY_H

#include "double.h"

typedef unsigned int Return;
enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15, UNKNOWN = 999
};
enum { FIELD_MEMORY_C = 82, FIELD_ENERGY = 83, FIELD_AVERAGE = 185, FIELD_INSTANT = 186, FIELD_ENERGY_TOO = 191 };
enum { SCOPE_GPU, SCOPE_MODULE, SCOPE_MEMORY };
enum { TYPE_UINT = 1, TYPE_ULONGLONG = 3 };

typedef struct {
    unsigned int field, scope;
    long long timestamp, latency_us;
    unsigned int type;
    Return result;
    union {
        double real;
        unsigned int uint;
        unsigned long long ull;
    } value;
} FieldValue;

typedef struct {
    unsigned int pid;
    unsigned long long memory;
    unsigned int gpu_instance, compute_instance;
} Process;

typedef struct {
    char legacy[16];
    unsigned int domain, bus, device, id, subsystem;
    char bus_id[32];
} Pci;

typedef struct {
    Device *device;
    double t_s;
} Sample;

typedef struct {
    unsigned int id;
    Return result;
    double value;
    const char *short_name, *long_name, *unit;
} Metric;

typedef struct {
    unsigned int version, count;
    Sample *first, *second;
    Metric metric[];
} Metrics;

extern World world;
extern pthread_mutex_t world_lock;

/* A handle is the device itself, or one of its MIG instances. */
typedef struct {
    Device *device;
    int instance; /* -1: the board */
} Handle;

/* Time now, and whether the library may be used at it. */
double now_s(void);
Return ready(double *t_s);
/* The same for a device: waits as long as a call takes, then looks whether it is there. */
Return ready_device(const Handle *handle, Device **device, double *t_s);

#define DEVICE(handle)                                             \
    Device *d;                                                     \
    double t;                                                      \
    do {                                                           \
        Return begun = ready_device((const Handle *)(handle), &d, &t); \
        if (begun) return begun;                                   \
    } while (0)

#endif
