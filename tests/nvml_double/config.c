/* Reads the world from the text file named by NVML_DOUBLE: one word and its values a line, `device` begins the next. */
#define _GNU_SOURCE
#include "double.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LINE 65536

static const char *CAPABILITY[CAPABILITIES] = {"energy", "instant", "average", "usage", "fields", "gpm", "limit", "state"};
static const char *LOADS[] = {"constant", "square", "ramp", "bursts", "phases", "trace"};

const Interval *interval_at(const Intervals *intervals, double t_s)
{
    for (int i = 0; i < intervals->count; i++)
        if (intervals->at[i].from_s <= t_s && t_s < intervals->at[i].to_s) return &intervals->at[i];
    return NULL;
}

static int fail(const char *what, const char *detail)
{
    fprintf(stderr, "nvml double: %s: %s\n", what, detail);
    return -1;
}

static void defaults(Device *device)
{
    memset(device, 0, sizeof *device);
    strcpy(device->name, "NVIDIA H100 80GB HBM3");
    device->architecture = 9;
    device->load.a[0] = 100.0;
    device->step_s = device->refresh_s = 0.1;
    device->duty = 0.25;
    device->average_s = 1.0;
    device->gain = 1.0;
    device->base_j = 1000.0;
    device->usage_is_average = 1;
    device->limit_min_mw = 200000;
    device->limit_default_mw = device->limit_max_mw = 700000;
    device->may_set_limit = 1;
    device->sm_mhz = 1755;
    device->memory_mhz = 2619;
    device->temperature_c = 45;
    device->memory_c = 52;
    device->utilization_percent = 90;
    device->sm_active = 0.8;
    device->tensor_active = 0.4;
    device->dram_active = 0.6;
    device->memory_total = 80ull << 30;
    device->memory_used = 60ull << 30;
}

static int grow(Load *load, double t_s, double power_w)
{
    int n = load->points++;
    load->t_s = realloc(load->t_s, (size_t)load->points * sizeof(double));
    load->power_w = realloc(load->power_w, (size_t)load->points * sizeof(double));
    load->energy_j = realloc(load->energy_j, (size_t)load->points * sizeof(double));
    if (!load->t_s || !load->power_w || !load->energy_j) return -1;
    load->t_s[n] = t_s;
    load->power_w[n] = power_w;
    double before = n == 0 ? 0.0 : load->power_w[n - 1], mean = load->kind == LOAD_PHASES ? before : (before + power_w) / 2;
    load->energy_j[n] = n == 0 ? 0.0 : load->energy_j[n - 1] + (t_s - load->t_s[n - 1]) * mean;
    return n > 0 && t_s <= load->t_s[n - 1] ? -1 : 0;
}

static int read_phases(Load *load, const double *values, int count)
{
    double at = 0.0;
    load->loop = 1;
    for (int i = 0; i + 1 < count; i += 2) {
        if (grow(load, at, values[i + 1])) return -1;
        at += values[i];
    }
    return count >= 2 ? grow(load, at, values[1]) : -1;
}

/* A CSV with a head line and columns t_ms,power_w; the first point is time 0. */
static int read_trace(Load *load, const char *path)
{
    FILE *file = fopen(path, "r");
    char line[256];
    double t_ms, power_w, first = NAN;
    if (!file) return fail("no trace", path);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%lf,%lf", &t_ms, &power_w) != 2) continue;
        if (isnan(first)) first = t_ms;
        if (grow(load, (t_ms - first) / 1e3, power_w)) {
            fclose(file);
            return fail("instants do not ascend", path);
        }
    }
    fclose(file);
    return load->points >= 2 ? 0 : fail("fewer than two points", path);
}

static int numbers(char **words, int count, double *values)
{
    int n = 0;
    for (; n < count; n++) {
        char *end;
        values[n] = strtod(words[n], &end);
        if (*end) break;
    }
    return n;
}

static int read_load(Load *load, char **words, int count)
{
    static double values[LINE / 2];
    if (count < 2) return fail("load", "has no values");
    for (int kind = LOAD_CONSTANT; kind <= LOAD_TRACE; kind++) {
        if (strcmp(words[0], LOADS[kind])) continue;
        load->kind = (LoadKind)kind;
        if (kind == LOAD_TRACE) {
            load->loop = count > 2 && !strcmp(words[2], "loop");
            return read_trace(load, words[1]);
        }
        int n = numbers(words + 1, count - 1, values);
        if (kind == LOAD_PHASES) return read_phases(load, values, n) ? fail("load", "phases") : 0;
        for (int i = 0; i < n && i < 8; i++) load->a[i] = values[i];
        return 0;
    }
    return fail("no such load", words[0]);
}

static int add(Intervals *intervals, double from, double to, int64_t value)
{
    if (intervals->count == INTERVALS) return fail("too many intervals", "");
    intervals->at[intervals->count++] = (Interval){from, to, value};
    return 0;
}

static int read_device(Device *d, char *key, char **words, int count)
{
    double v[16] = {0};
    int n = numbers(words, count < 16 ? count : 16, v);
    double to = n > 1 ? v[1] : INFINITY, last = n > 2 ? v[2] : INFINITY;
#define WORD(name) if (!strcmp(key, name))
    WORD("uuid") return snprintf(d->uuid, sizeof d->uuid, "%s", words[0]) < 0;
    WORD("name") {
        d->name[0] = 0;
        for (int i = 0; i < count; i++) {
            if (i) strncat(d->name, " ", sizeof d->name - strlen(d->name) - 1);
            strncat(d->name, words[i], sizeof d->name - strlen(d->name) - 1);
        }
        return 0;
    }
    WORD("pci") return snprintf(d->pci, sizeof d->pci, "%s", words[0]) < 0;
    WORD("load") return read_load(&d->load, words, count);
    WORD("shift_s") return d->load.shift_s = v[0], 0;
    WORD("architecture") return d->architecture = (unsigned)v[0], 0;
    WORD("step_ms") return d->step_s = v[0] / 1e3, d->step_phase_s = v[1] / 1e3, 0;
    WORD("refresh_ms") return d->refresh_s = v[0] / 1e3, d->refresh_phase_s = v[1] / 1e3, 0;
    WORD("duty") return d->duty = v[0], 0;
    WORD("average_ms") return d->average_s = v[0] / 1e3, 0;
    WORD("lag_ms") return d->lag_s = v[0] / 1e3, 0;
    WORD("gain") return d->gain = v[0], 0;
    WORD("offset_w") return d->offset_w = v[0], 0;
    WORD("base_j") return d->base_j = v[0], 0;
    WORD("usage_is_average") return d->usage_is_average = v[0] != 0, 0;
    WORD("busy_us") return d->busy_s = v[0] / 1e6, 0;
    WORD("sleep_us") return d->sleep_s = v[0] / 1e6, 0;
    WORD("module_w") return d->module_w = v[0], 0;
    WORD("memory_share") return d->memory_share = v[0], 0;
    WORD("counter_of_module") return d->counter_of_module = v[0] != 0, 0;
    WORD("mig") return d->mig_on = 1, d->mig_instances = v[0] < MIG_INSTANCES ? (int)v[0] : MIG_INSTANCES, 0;
    WORD("limits_w") return d->limit_min_mw = (unsigned)(v[0] * 1e3), d->limit_default_mw = (unsigned)(v[1] * 1e3),
                            d->limit_max_mw = (unsigned)(v[2] * 1e3), 0;
    WORD("may_set_limit") return d->may_set_limit = v[0] != 0, 0;
    WORD("clocks_mhz") return d->sm_mhz = (unsigned)v[0], d->memory_mhz = (unsigned)v[1], 0;
    WORD("temperature_c") return d->temperature_c = (unsigned)v[0], 0;
    WORD("memory_c") return d->memory_c = (unsigned)v[0], 0;
    WORD("utilization_percent") return d->utilization_percent = (unsigned)v[0], 0;
    WORD("activity") return d->sm_active = v[0], d->tensor_active = v[1], d->dram_active = v[2], 0;
    WORD("memory_bytes") return d->memory_total = (uint64_t)v[0], d->memory_used = (uint64_t)v[1], 0;
    WORD("reset_s") return add(&d->resets, v[0], INFINITY, 0);
    WORD("lost_s") return add(&d->lost, v[0], to, 0);
    WORD("throttled") return add(&d->throttled, to, last, (int64_t)v[0]);
    WORD("process") return add(&d->processes, n > 1 ? v[1] : 0.0, last, (int64_t)v[0]);
    WORD("lost_file") return snprintf(d->lost_file, sizeof d->lost_file, "%s", words[0]) < 0;
    WORD("memory_file") return snprintf(d->memory_file, sizeof d->memory_file, "%s", words[0]) < 0;
    WORD("processes_file") return snprintf(d->processes_file, sizeof d->processes_file, "%s", words[0]) < 0;
    WORD("missing") {
        for (int i = 0; i < count; i++)
            for (int c = 0; c < CAPABILITIES; c++)
                if (!strcmp(words[i], CAPABILITY[c])) d->missing[c] = 1;
        return 0;
    }
#undef WORD
    return fail("no such word for a device", key);
}

static int read_line(World *world, char *line)
{
    static char *words[LINE / 2];
    int count = 0;
    char *save, *key = strtok_r(line, " \t\r\n", &save);
    if (!key || *key == '#') return 0;
    for (char *word; (word = strtok_r(NULL, " \t\r\n", &save));) words[count++] = word;
    if (!strcmp(key, "device")) {
        if (world->count == DEVICES) return fail("too many devices", "");
        defaults(&world->device[world->count++]);
        return 0;
    }
    if (!count) return fail("no value for", key);
    if (!strcmp(key, "epoch_ns")) return world->epoch_ns = strtoll(words[0], NULL, 10), 0;
    if (!strcmp(key, "driver")) return snprintf(world->driver, sizeof world->driver, "%s", words[0]) < 0;
    if (!strcmp(key, "unloaded_s"))
        return add(&world->unloaded, atof(words[0]), count > 1 ? atof(words[1]) : INFINITY, 0);
    if (!world->count) return fail("before the first device", key);
    return read_device(&world->device[world->count - 1], key, words, count);
}

static int map_shared(World *world, const char *path)
{
    char name[4096];
    snprintf(name, sizeof name, "%s.state", path);
    int file = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0 || ftruncate(file, sizeof(Shared))) return fail("cannot be written", name);
    void *at = mmap(NULL, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (at == MAP_FAILED) return fail("cannot be mapped", name);
    world->shared = at;
    return 0;
}

int world_read(World *world)
{
    static char line[LINE];
    const char *path = getenv("NVML_DOUBLE"), *speed = getenv("NVML_DOUBLE_SPEED");
    memset(world, 0, sizeof *world);
    world->speed = speed && atof(speed) > 0 ? atof(speed) : 1.0;
    strcpy(world->driver, "570.86.15");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return path ? fail("cannot be read", path) : -1;
    int bad = 0;
    while (!bad && fgets(line, sizeof line, file)) bad = read_line(world, line);
    fclose(file);
    return bad ? -1 : map_shared(world, path);
}

void world_free(World *world)
{
    for (int i = 0; i < world->count; i++) {
        free(world->device[i].load.t_s);
        free(world->device[i].load.power_w);
        free(world->device[i].load.energy_j);
    }
    if (world->shared) munmap(world->shared, sizeof(Shared));
    memset(world, 0, sizeof *world);
}
