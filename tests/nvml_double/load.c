/* True energy from time 0 on, in closed form; before 0 the power at 0 is taken to have held. */
#include "double.h"

#include <math.h>

static double clamp(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

/* A number in [0, 1) that depends on seed and slot alone (splitmix64). */
static double drawn(uint64_t seed, uint64_t slot)
{
    uint64_t z = seed * 0x9E3779B97F4A7C15ull + (slot + 1) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    return (double)(z >> 11) * (1.0 / 9007199254740992.0);
}

static double square(const double *a, double t)
{
    double low = a[0], high = a[1], period = a[2], on = a[2] * a[3];
    double cycles = floor(t / period), rest = t - cycles * period;
    return cycles * (high * on + low * (period - on)) + high * fmin(rest, on) + low * fmax(0.0, rest - on);
}

static double ramp(const double *a, double t)
{
    double low = a[0], high = a[1], period = a[2];
    double cycles = floor(t / period), rest = t - cycles * period;
    return cycles * period * (low + high) / 2 + low * rest + (high - low) * rest * rest / (2 * period);
}

static double bursts(const double *a, double t)
{
    double base = a[0], peak = a[1], slot_s = a[2], length = a[3];
    double slot = floor(t / slot_s), rest = t - slot * slot_s;
    double start = drawn((uint64_t)a[4], (uint64_t)slot) * (slot_s - length);
    return base * t + (peak - base) * (slot * length + clamp(rest - start, 0.0, length));
}

static int before(const Load *load, double t)
{
    int low = 0, high = load->points - 1;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (load->t_s[middle] <= t) low = middle;
        else high = middle;
    }
    return low;
}

/* Phases hold their power until the next point, traces run straight between two points. */
static double points(const Load *load, double t)
{
    int last = load->points - 1, steps = load->kind == LOAD_PHASES;
    double cycles = 0.0, length = load->t_s[last], total = load->energy_j[last];
    if (load->loop) {
        cycles = floor(t / length);
        t -= cycles * length;
    }
    if (t >= length) return cycles * total + total + (t - length) * load->power_w[last];
    int i = before(load, t);
    double since = t - load->t_s[i], power = load->power_w[i];
    double slope = steps ? 0.0 : (load->power_w[i + 1] - power) / (load->t_s[i + 1] - load->t_s[i]);
    return cycles * total + load->energy_j[i] + power * since + slope * since * since / 2;
}

static double since_zero(const Load *load, double t)
{
    switch (load->kind) {
    case LOAD_CONSTANT: return load->a[0] * t;
    case LOAD_SQUARE: return square(load->a, t);
    case LOAD_RAMP: return ramp(load->a, t);
    case LOAD_BURSTS: return bursts(load->a, t);
    default: return points(load, t);
    }
}

double load_energy_j(const Load *load, double t_s)
{
    double start = since_zero(load, load->shift_s);
    if (t_s < 0) return t_s * (since_zero(load, load->shift_s + 1e-3) - start) / 1e-3;
    return since_zero(load, load->shift_s + t_s) - start;
}
