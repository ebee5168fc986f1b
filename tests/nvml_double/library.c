/* Start and end of the library, its time, handles and identities. */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "entry.h"

World world;
pthread_mutex_t world_lock = PTHREAD_MUTEX_INITIALIZER;
static int users;
static double begun_s;
static Handle handles[DEVICES][MIG_INSTANCES + 1];

static int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

double now_s(void) { return (double)(clock_ns() - world.epoch_ns) * 1e-9 * world.speed; }

/* A driver that was unloaded since leaves the library without a word until it is begun anew. */
Return ready(double *t_s)
{
    if (!users) return UNINITIALIZED;
    *t_s = now_s();
    for (int i = 0; i < world.unloaded.count; i++)
        if (begun_s < world.unloaded.at[i].from_s && world.unloaded.at[i].from_s <= *t_s) return UNINITIALIZED;
    return SUCCESS;
}

static void take_time(const Device *device)
{
    if (device->sleep_s > 0) {
        struct timespec pause = {(time_t)device->sleep_s, (long)(fmod(device->sleep_s, 1.0) * 1e9)};
        nanosleep(&pause, NULL);
    }
    if (device->busy_s > 0)
        for (int64_t until = clock_ns() + (int64_t)(device->busy_s * 1e9); clock_ns() < until;) continue;
}

/* Whether the board is on the bus: not in its intervals, nor while its file is there. */
static Return found(const Device *device, double t)
{
    int lost = interval_at(&device->lost, t) || (device->lost_file[0] && !access(device->lost_file, F_OK));
    return lost ? GPU_IS_LOST : SUCCESS;
}

Return ready_device(const Handle *handle, Device **device, double *t_s)
{
    Return result = ready(t_s);
    if (result) return result;
    const Handle *from = &handles[0][0], *to = from + sizeof handles / sizeof *from;
    if (handle < from || handle >= to || !handle->device) return INVALID_ARGUMENT;
    take_time(handle->device);
    *device = handle->device;
    return found(handle->device, *t_s);
}

Return nvmlInitWithFlags(unsigned int flags)
{
    (void)flags;
    pthread_mutex_lock(&world_lock);
    if (!users) {
        if (world_read(&world)) {
            pthread_mutex_unlock(&world_lock);
            return DRIVER_NOT_LOADED;
        }
        begun_s = now_s();
        if (interval_at(&world.unloaded, begun_s)) {
            world_free(&world);
            pthread_mutex_unlock(&world_lock);
            return DRIVER_NOT_LOADED;
        }
        memset(handles, 0, sizeof handles);
        for (int i = 0; i < world.count; i++)
            for (int k = -1; k < world.device[i].mig_instances; k++)
                handles[i][k + 1] = (Handle){&world.device[i], k};
    }
    users++;
    pthread_mutex_unlock(&world_lock);
    return SUCCESS;
}

Return nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

Return nvmlShutdown(void)
{
    pthread_mutex_lock(&world_lock);
    Return result = users ? SUCCESS : UNINITIALIZED;
    if (users && !--users) world_free(&world);
    pthread_mutex_unlock(&world_lock);
    return result;
}

const char *nvmlErrorString(Return result)
{
    switch (result) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NO_PERMISSION: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case GPU_IS_LOST: return "GPU is lost";
    default: return "Unknown Error";
    }
}

static Return text(char *to, unsigned int length, const char *from)
{
    return strlen(from) < length ? (strcpy(to, from), SUCCESS) : INSUFFICIENT_SIZE;
}

Return nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    double t;
    Return result = ready(&t);
    return result ? result : text(version, length, world.driver);
}

Return nvmlSystemGetNVMLVersion(char *version, unsigned int length) { return text(version, length, "13.0.0"); }

Return nvmlDeviceGetCount_v2(unsigned int *count)
{
    double t;
    Return result = ready(&t);
    if (!result) *count = (unsigned int)world.count;
    return result;
}

Return nvmlDeviceGetHandleByIndex_v2(unsigned int index, Handle **handle)
{
    double t;
    Return result = ready(&t);
    if (result) return result;
    if (index >= (unsigned int)world.count) return INVALID_ARGUMENT;
    *handle = &handles[index][0];
    return found(&world.device[index], t);
}

static void uuid_of(const Handle *handle, char *uuid, size_t length)
{
    if (handle->instance < 0) snprintf(uuid, length, "%s", handle->device->uuid);
    else snprintf(uuid, length, "MIG-%d-%s", handle->instance, handle->device->uuid);
}

Return nvmlDeviceGetHandleByUUID(const char *uuid, Handle **handle)
{
    double t;
    Return result = ready(&t);
    if (result) return result;
    for (int i = 0; i < world.count; i++)
        for (int k = 0; k <= world.device[i].mig_instances; k++) {
            char own[128];
            uuid_of(&handles[i][k], own, sizeof own);
            if (strcmp(own, uuid)) continue;
            *handle = &handles[i][k];
            return found(&world.device[i], t);
        }
    return NOT_FOUND;
}

Return nvmlDeviceGetUUID(const Handle *handle, char *uuid, unsigned int length)
{
    char own[128];
    DEVICE(handle);
    uuid_of(handle, own, sizeof own);
    return text(uuid, length, own);
}

Return nvmlDeviceGetName(const Handle *handle, char *name, unsigned int length)
{
    DEVICE(handle);
    return text(name, length, d->name);
}

Return nvmlDeviceGetArchitecture(const Handle *handle, unsigned int *architecture)
{
    DEVICE(handle);
    *architecture = d->architecture;
    return SUCCESS;
}

Return nvmlDeviceGetPciInfo_v3(const Handle *handle, Pci *pci)
{
    DEVICE(handle);
    memset(pci, 0, sizeof *pci);
    snprintf(pci->legacy, sizeof pci->legacy, "%.15s", d->pci);
    snprintf(pci->bus_id, sizeof pci->bus_id, "%.31s", d->pci);
    return SUCCESS;
}

Return nvmlDeviceGetC2cModeInfoV(const Handle *handle, unsigned int *enabled)
{
    DEVICE(handle);
    *enabled = d->module_w > 0;
    return SUCCESS;
}

Return nvmlDeviceGetMigMode(const Handle *handle, unsigned int *current, unsigned int *pending)
{
    DEVICE(handle);
    if (d->architecture < 7) return NOT_SUPPORTED;
    *current = *pending = (unsigned int)d->mig_on;
    return SUCCESS;
}

Return nvmlDeviceGetMaxMigDeviceCount(const Handle *handle, unsigned int *count)
{
    DEVICE(handle);
    *count = d->mig_on ? MIG_INSTANCES : 0;
    return SUCCESS;
}

Return nvmlDeviceGetMigDeviceHandleByIndex(const Handle *handle, unsigned int index, const Handle **instance)
{
    DEVICE(handle);
    if (index >= (unsigned int)d->mig_instances) return NOT_FOUND;
    *instance = handle + 1 + index;
    return SUCCESS;
}
