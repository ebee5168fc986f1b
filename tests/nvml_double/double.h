/* A double of libnvidia-ml.so.1: devices whose true power is known, seen through sensors that behave like real ones.
 *
 * What it plays is in the text file named by NVML_DOUBLE (written by nvml_double.py). Its time is CLOCK_MONOTONIC
 * less the file's epoch, in seconds, times NVML_DOUBLE_SPEED, so that all processes agree and truth.py can say what
 * the energy of any interval was.
 */
#ifndef NVML_DOUBLE_H
#define NVML_DOUBLE_H

#include <stdint.h>

#define DEVICES 64
#define INTERVALS 16
#define MIG_INSTANCES 7

enum { CAN_ENERGY, CAN_INSTANT, CAN_AVERAGE, CAN_USAGE, CAN_FIELDS, CAN_GPM, CAN_LIMIT, CAN_STATE, CAPABILITIES };

typedef enum { LOAD_CONSTANT, LOAD_SQUARE, LOAD_RAMP, LOAD_BURSTS, LOAD_PHASES, LOAD_TRACE } LoadKind;

/* True power over time. Parts depend on the kind; see truth.py, which has the same formulas. */
typedef struct {
    LoadKind kind;
    double shift_s;
    double a[8];
    /* phases and traces: instants, watts, and energy up to each instant */
    int points;
    int loop;
    double *t_s;
    double *power_w;
    double *energy_j;
} Load;

typedef struct {
    double from_s;
    double to_s;
    int64_t value;
} Interval;

typedef struct {
    int count;
    Interval at[INTERVALS];
} Intervals;

typedef struct {
    char uuid[96];
    char name[96];
    char pci[32];
    unsigned int architecture;
    Load load;
    double step_s, step_phase_s;
    double refresh_s, refresh_phase_s, duty, average_s, lag_s;
    double gain, offset_w, base_j;
    int usage_is_average;
    int missing[CAPABILITIES];
    double busy_s, sleep_s;
    double module_w, memory_share;
    int counter_of_module;
    int mig_on, mig_instances;
    unsigned int limit_min_mw, limit_default_mw, limit_max_mw;
    int may_set_limit;
    unsigned int sm_mhz, memory_mhz, temperature_c, memory_c, utilization_percent;
    double sm_active, tensor_active, dram_active;
    uint64_t memory_total, memory_used;
    Intervals resets, lost, throttled, processes;
    char processes_file[512];
    char memory_file[512];
    char lost_file[512];
} Device;

/* What outlives a process, in the file named like the configuration with .state added. */
typedef struct {
    unsigned int limit_mw[DEVICES];
    uint64_t field_calls[DEVICES];
    uint64_t limit_sets;
} Shared;

typedef struct {
    int64_t epoch_ns;
    double speed;
    char driver[80];
    int count;
    Device device[DEVICES];
    Intervals unloaded;
    Shared *shared;
} World;

/* config.c: fill the world from the file; 0, or -1 with a line on stderr. */
int world_read(World *world);
void world_free(World *world);
const Interval *interval_at(const Intervals *intervals, double t_s);

/* load.c */
double load_energy_j(const Load *load, double t_s);

/* sensor.c: readings at double time t_s; module adds the rest of the superchip. */
double sensor_counter_j(const World *world, const Device *device, double t_s);
double sensor_power_w(const Device *device, double t_s, double window_s);

#endif
