"""Questions to copy: each is in the documentation, and each is run by a test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """One question and the SQL that answers it."""

    question: str
    sql: str


EXAMPLES = (
    Example("The leaderboard, all columns.", "from leaderboard"),
    Example(
        "What does a precision save, at the same model and concurrency?",
        """select model, concurrency, quantization, j_per_token,
  j_per_token / max(j_per_token) over (partition by model, concurrency, boundary, fidelity) as share_of_worst
from leaderboard
order by model, concurrency, j_per_token""",
    ),
    Example(
        "Energy of a window from the raw readings, beside the view's figure (the counter's edges, interpolated).",
        """with reading as (
  select w.trial, w.window_start_at as t0, w.window_end_at as t1, p.t, p.energy_uj,
    lag(p.energy_uj) over (partition by w.trial, p.meter, p.device, p.scope order by p.t) as before
  from power p
  join trial_nodes w on w.node = p.node
    and p.t between w.window_start_at - interval 1 minute and w.window_end_at + interval 1 minute
  where p.scope = 'cpu_process' and p.energy_uj is not null
), change as (
  select *, epoch_us(t) as us,
    lag(epoch_us(t)) over step as us_before, lag(energy_uj) over step as uj_before
  from reading
  where energy_uj > before
  window step as (partition by trial order by t)
), edge as (
  select trial, edge, uj_before + (energy_uj - uj_before) * (edge - us_before) / (us - us_before) as uj
  from change, unnest([epoch_us(t0), epoch_us(t1)]) as e(edge)
  where edge >= us_before and edge < us
)
select r.trial, (max(e.uj) - min(e.uj)) / 1e6 as energy_by_hand_j, any_value(r.energy_j) as energy_j
from edge e join trial_results r on r.trial = e.trial
group by r.trial
order by r.trial""",
    ),
    Example(
        "Both methods of every meter side by side, which of them counts, and what each may be off by, in parts.",
        """from trial_energy
select trial, meter, device, scope, method, chosen, energy_j, disagreement,
  uncertainty_j, edge_j, transient_j, clock_j, gain_fraction, coverage
where interval = 'window'
order by trial, meter, device, scope, method""",
    ),
    Example(
        "Energy of each request; the row without a number is what no request was charged with.",
        """from request_energy
select trial, request, energy_j
order by trial, energy_j desc
limit 20""",
    ),
    Example(
        "Power and tokens, second by second, of the latest trial.",
        """with latest as (from trials where outcome = 'done' order by started_at desc limit 1),
watts as (
  select date_trunc('second', p.t) as second, avg(p.power_mw) / 1e3 as mean_w
  from power p join latest l on p.t between l.window_start_at and l.window_end_at
  group by all
), arrived as (
  select date_trunc('second', k.t) as second, sum(k.tokens) as tokens
  from tokens k join latest l on k.trial = l.trial
  group by all
)
select second, mean_w, tokens
from watts left join arrived using (second)
order by second""",
    ),
    Example("What failed, and why?", "from failures select model, quantization, outcome, failure_class, reasons, log"),
    Example(
        "How much power is spent on a loaded engine without requests?",
        """from cell_results
select model, quantization, concurrency, boundary, mean_w, loaded_idle_w, loaded_idle_w / mean_w as idle_share""",
    ),
    Example(
        "A million output tokens at 2.50 a GPU-hour, 0.12 a kWh and a PUE of 1.3, power not included.",
        """from cost(2.5, 0.12, 1.3, false) c join cell_results r using (cell, boundary, fidelity)
select r.model, r.quantization, r.concurrency, c.gpu_cost_per_million, c.electricity_cost_per_million""",
    ),
    Example(
        "Energy per token where the engine is busy for 30 % of the time.",
        "from utilisation_adjusted(0.3) order by j_per_output_token",
    ),
    Example(
        "A response of 150 tokens that takes 1.2 attempts, with 150 tokens of guards.",
        "select cost_per_response(150, 1.2, 0.00015, 150, 0.000002) as dollars",
    ),
)
