/* What the sensors make of the true power: steps, windows, lag, gain and offset. */
#include "double.h"

#include <math.h>

static double stepped(double t, double step, double phase) { return floor((t - phase) / step) * step + phase; }

static double sensed_j(const Device *device, double t)
{
    double rest_w = device->offset_w + (device->counter_of_module ? device->module_w : 0.0);
    return device->gain * load_energy_j(&device->load, t) + rest_w * t;
}

/* The counter moves at steps only; it starts again at 0 at a reset, and when the driver is loaded again. */
double sensor_counter_j(const World *world, const Device *device, double t_s)
{
    double at = stepped(t_s, device->step_s, device->step_phase_s) - device->lag_s;
    double zero = -INFINITY;
    for (int i = 0; i < device->resets.count; i++)
        if (device->resets.at[i].from_s <= at) zero = fmax(zero, device->resets.at[i].from_s);
    for (int i = 0; i < world->unloaded.count; i++)
        if (world->unloaded.at[i].to_s <= at) zero = fmax(zero, world->unloaded.at[i].to_s);
    double counted = isfinite(zero) ? sensed_j(device, at) - sensed_j(device, zero) : device->base_j + sensed_j(device, at);
    return fmax(counted, 0.0);
}

/* Mean over the last window before the last refresh. */
double sensor_power_w(const Device *device, double t_s, double window_s)
{
    double at = stepped(t_s, device->refresh_s, device->refresh_phase_s) - device->lag_s;
    double mean = (load_energy_j(&device->load, at) - load_energy_j(&device->load, at - window_s)) / window_s;
    return fmax(0.0, device->gain * mean + device->offset_w);
}
