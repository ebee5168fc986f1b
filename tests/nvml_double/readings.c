/* What a device says: energy, power, clocks, activity, processes, and its power limit. */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "entry.h"

enum { METRIC_SM = 2, METRIC_TENSOR = 5, METRIC_DRAM = 10 };
enum { CLOCK_SM = 1, CLOCK_MEMORY = 2 };

static Return power(const Device *d, double t, int average, unsigned int scope, unsigned int *milliwatts)
{
    if (d->missing[average ? CAN_AVERAGE : CAN_INSTANT]) return NOT_SUPPORTED;
    if (scope == SCOPE_MODULE && d->module_w <= 0) return NOT_SUPPORTED;
    if (scope == SCOPE_MEMORY && d->memory_share <= 0) return NOT_SUPPORTED;
    if (scope > SCOPE_MEMORY) return INVALID_ARGUMENT;
    double watts = sensor_power_w(d, t, average ? d->average_s : d->duty * d->refresh_s);
    if (scope == SCOPE_MODULE) watts += d->module_w;
    if (scope == SCOPE_MEMORY) watts *= d->memory_share;
    *milliwatts = (unsigned int)lround(watts * 1e3);
    return SUCCESS;
}

static Return energy(const Device *d, double t, unsigned long long *millijoules)
{
    if (d->missing[CAN_ENERGY]) return NOT_SUPPORTED;
    *millijoules = (unsigned long long)floor(sensor_counter_j(&world, d, t) * 1e3);
    return SUCCESS;
}

Return nvmlDeviceGetFieldValues(const Handle *handle, int count, FieldValue *values)
{
    DEVICE(handle);
    if (d->missing[CAN_FIELDS]) return NOT_SUPPORTED;
    __atomic_add_fetch(&world.shared->field_calls[d - world.device], 1, __ATOMIC_RELAXED);
    for (int i = 0; i < count; i++) {
        FieldValue *v = &values[i];
        v->timestamp = (long long)(t * 1e6);
        v->latency_us = (long long)((d->busy_s + d->sleep_s) * 1e6);
        v->value.ull = 0;
        switch (v->field) {
        case FIELD_ENERGY:
        case FIELD_ENERGY_TOO:
            v->type = TYPE_ULONGLONG;
            v->result = energy(d, t, &v->value.ull);
            break;
        case FIELD_AVERAGE:
        case FIELD_INSTANT:
            v->type = TYPE_UINT;
            v->result = power(d, t, v->field == FIELD_AVERAGE, v->scope, &v->value.uint);
            break;
        case FIELD_MEMORY_C:
            v->type = TYPE_UINT;
            v->value.uint = d->memory_c;
            v->result = d->missing[CAN_STATE] || !d->memory_c ? NOT_SUPPORTED : SUCCESS;
            break;
        default: v->result = NOT_SUPPORTED;
        }
    }
    return SUCCESS;
}

Return nvmlDeviceGetTotalEnergyConsumption(const Handle *handle, unsigned long long *millijoules)
{
    DEVICE(handle);
    return energy(d, t, millijoules);
}

Return nvmlDeviceGetPowerUsage(const Handle *handle, unsigned int *milliwatts)
{
    DEVICE(handle);
    if (d->missing[CAN_USAGE]) return NOT_SUPPORTED;
    double watts = sensor_power_w(d, t, d->usage_is_average ? d->average_s : d->duty * d->refresh_s);
    *milliwatts = (unsigned int)lround(watts * 1e3);
    return SUCCESS;
}

Return nvmlDeviceGetClockInfo(const Handle *handle, unsigned int which, unsigned int *mhz)
{
    DEVICE(handle);
    if (d->missing[CAN_STATE] || which > CLOCK_MEMORY) return NOT_SUPPORTED;
    *mhz = which == CLOCK_MEMORY ? d->memory_mhz : d->sm_mhz;
    return SUCCESS;
}

Return nvmlDeviceGetTemperature(const Handle *handle, unsigned int sensor, unsigned int *celsius)
{
    DEVICE(handle);
    if (d->missing[CAN_STATE] || sensor) return NOT_SUPPORTED;
    *celsius = d->temperature_c;
    return SUCCESS;
}

typedef struct {
    unsigned int version, sensor;
    int celsius;
} Temperature;

Return nvmlDeviceGetTemperatureV(const Handle *handle, Temperature *temperature)
{
    return nvmlDeviceGetTemperature(handle, temperature->sensor, (unsigned int *)&temperature->celsius);
}

Return nvmlDeviceGetMemoryInfo(const Handle *handle, unsigned long long *total_free_used)
{
    DEVICE(handle);
    if (d->missing[CAN_STATE]) return NOT_SUPPORTED;
    total_free_used[0] = d->memory_total;
    unsigned long long used = d->memory_used;
    FILE *file = d->memory_file[0] ? fopen(d->memory_file, "r") : NULL;
    if (file && fscanf(file, "%llu", &used) != 1) used = d->memory_used;
    if (file) fclose(file);
    total_free_used[1] = d->memory_total - used;
    total_free_used[2] = used;
    return SUCCESS;
}

Return nvmlDeviceGetUtilizationRates(const Handle *handle, unsigned int *gpu_memory)
{
    DEVICE(handle);
    if (d->missing[CAN_STATE] || d->mig_on) return NOT_SUPPORTED;
    gpu_memory[0] = d->utilization_percent;
    gpu_memory[1] = d->utilization_percent / 2;
    return SUCCESS;
}

Return nvmlDeviceGetCurrentClocksEventReasons(const Handle *handle, unsigned long long *reasons)
{
    DEVICE(handle);
    if (d->missing[CAN_STATE]) return NOT_SUPPORTED;
    const Interval *throttled = interval_at(&d->throttled, t);
    *reasons = throttled ? (unsigned long long)throttled->value : 0;
    return SUCCESS;
}

Return nvmlDeviceGetCurrentClocksThrottleReasons(const Handle *handle, unsigned long long *reasons)
{
    return nvmlDeviceGetCurrentClocksEventReasons(handle, reasons);
}

static unsigned int running(const Device *d, double t, Process *to, unsigned int room)
{
    unsigned int count = 0, pid;
    for (int i = 0; i < d->processes.count; i++) {
        const Interval *p = &d->processes.at[i];
        if (p->from_s > t || t >= p->to_s) continue;
        if (count < room) to[count] = (Process){(unsigned int)p->value, 1ull << 30, ~0u, ~0u};
        count++;
    }
    FILE *file = d->processes_file[0] ? fopen(d->processes_file, "r") : NULL;
    while (file && fscanf(file, "%u", &pid) == 1) {
        if (count < room) to[count] = (Process){pid, 1ull << 30, ~0u, ~0u};
        count++;
    }
    if (file) fclose(file);
    return count;
}

Return nvmlDeviceGetComputeRunningProcesses_v3(const Handle *handle, unsigned int *count, Process *processes)
{
    DEVICE(handle);
    unsigned int room = processes ? *count : 0;
    *count = running(d, t, processes, room);
    return *count > room ? INSUFFICIENT_SIZE : SUCCESS;
}

Return nvmlDeviceGetComputeRunningProcesses_v2(const Handle *handle, unsigned int *count, Process *processes)
{
    return nvmlDeviceGetComputeRunningProcesses_v3(handle, count, processes);
}

static unsigned int limit_mw(const Device *d)
{
    unsigned int set = __atomic_load_n(&world.shared->limit_mw[d - world.device], __ATOMIC_RELAXED);
    return set ? set : d->limit_default_mw;
}

Return nvmlDeviceGetPowerManagementLimit(const Handle *handle, unsigned int *milliwatts)
{
    DEVICE(handle);
    if (d->missing[CAN_LIMIT]) return NOT_SUPPORTED;
    *milliwatts = limit_mw(d);
    return SUCCESS;
}

Return nvmlDeviceGetEnforcedPowerLimit(const Handle *handle, unsigned int *milliwatts)
{
    return nvmlDeviceGetPowerManagementLimit(handle, milliwatts);
}

Return nvmlDeviceGetPowerManagementDefaultLimit(const Handle *handle, unsigned int *milliwatts)
{
    DEVICE(handle);
    if (d->missing[CAN_LIMIT]) return NOT_SUPPORTED;
    *milliwatts = d->limit_default_mw;
    return SUCCESS;
}

Return nvmlDeviceGetPowerManagementLimitConstraints(const Handle *handle, unsigned int *low, unsigned int *high)
{
    DEVICE(handle);
    if (d->missing[CAN_LIMIT]) return NOT_SUPPORTED;
    *low = d->limit_min_mw;
    *high = d->limit_max_mw;
    return SUCCESS;
}

Return nvmlDeviceSetPowerManagementLimit(const Handle *handle, unsigned int milliwatts)
{
    DEVICE(handle);
    if (d->missing[CAN_LIMIT]) return NOT_SUPPORTED;
    if (!d->may_set_limit) return NO_PERMISSION;
    if (milliwatts < d->limit_min_mw || milliwatts > d->limit_max_mw) return INVALID_ARGUMENT;
    __atomic_store_n(&world.shared->limit_mw[d - world.device], milliwatts, __ATOMIC_RELAXED);
    __atomic_add_fetch(&world.shared->limit_sets, 1, __ATOMIC_RELAXED);
    return SUCCESS;
}

Return nvmlDeviceGetPersistenceMode(const Handle *handle, unsigned int *mode)
{
    DEVICE(handle);
    *mode = 1;
    return SUCCESS;
}

Return nvmlGpmQueryDeviceSupport(const Handle *handle, unsigned int *version_supported)
{
    DEVICE(handle);
    version_supported[1] = d->architecture >= 9 && !d->missing[CAN_GPM];
    return SUCCESS;
}

Return nvmlGpmSampleAlloc(Sample **sample) { return (*sample = calloc(1, sizeof **sample)) ? SUCCESS : UNKNOWN; }

Return nvmlGpmSampleFree(Sample *sample)
{
    free(sample);
    return SUCCESS;
}

Return nvmlGpmSampleGet(const Handle *handle, Sample *sample)
{
    DEVICE(handle);
    if (d->architecture < 9 || d->missing[CAN_GPM]) return NOT_SUPPORTED;
    *sample = (Sample){d, t};
    return SUCCESS;
}

Return nvmlGpmMetricsGet(Metrics *metrics)
{
    const Sample *first = metrics->first, *second = metrics->second;
    if (metrics->version != 1 || !first->device || first->device != second->device) return INVALID_ARGUMENT;
    if (second->t_s <= first->t_s) return INVALID_ARGUMENT;
    for (unsigned int i = 0; i < metrics->count; i++) {
        Metric *m = &metrics->metric[i];
        m->result = SUCCESS;
        switch (m->id) {
        case METRIC_SM: m->value = 100 * first->device->sm_active; break;
        case METRIC_TENSOR: m->value = 100 * first->device->tensor_active; break;
        case METRIC_DRAM: m->value = 100 * first->device->dram_active; break;
        default: m->result = NOT_SUPPORTED;
        }
    }
    return SUCCESS;
}
