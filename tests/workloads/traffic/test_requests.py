"""Requests: lengths as asked for, prompts unique or shared as asked for, conversations that grow."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.traffic.make import make_traffic
from joulemark.workloads.traffic.tables import Tables, digest_of
from joulemark.workloads.workload import Arrivals, Conversation, Length, Load, Prefix, Workload

OPEN = Arrivals("poisson", 2.0)
COUNT = 40_000


def traffic(inputs=64, outputs=16, *, tables=None, prompt_seed=3, arrivals="closed", **more):
    workload = Workload(inputs, outputs, 4 if arrivals == "closed" else None, arrivals, seed=7, **more)
    return make_traffic(workload, prompt_seed=prompt_seed, vocab_size=2048, tables=tables or Tables())


def lengths(found, count=COUNT):
    return np.array([found.source.lengths.of(number) for number in range(count)])


def test_a_fixed_request_is_what_it_was():
    first = traffic().request(0)
    assert (first.number, first.input_tokens, first.output_tokens) == (0, 64, 16)
    assert first.fixed_length
    assert first.pause_s is None
    assert len(first.prompt) == 64


def test_requests_are_the_same_in_any_order_and_no_two_alike():
    asked = traffic(Length("uniform", 20, 40))
    forward = [asked.request(n).prompt for n in range(3_000)]
    assert [asked.request(n).prompt for n in reversed(range(3_000))][::-1] == forward
    assert len({tuple(p[:12]) for p in forward}) == 3_000


def test_uniform_lengths_take_every_value_alike():
    found = lengths(traffic(Length("uniform", 5, 12), Length("uniform", 1, 3)))
    assert set(found[:, 0]) == set(range(5, 13))
    assert stats.chisquare(np.bincount(found[:, 0])[5:]).pvalue > 1e-6
    assert stats.chisquare(np.bincount(found[:, 1])[1:]).pvalue > 1e-6
    assert abs(np.corrcoef(found.T)[0, 1]) < 5 / math.sqrt(COUNT)


def test_normal_lengths_have_mean_and_deviation():
    found = lengths(traffic(Length("normal", 1, 10_000, mean=1000.0, stdev=100.0)))[:, 0]
    assert found.mean() == pytest.approx(1000, abs=5 * 100 / math.sqrt(COUNT))
    assert found.std() == pytest.approx(100, rel=5 / math.sqrt(2 * COUNT))


@pytest.mark.parametrize("fields", [{"mean": 500.0, "stdev": 400.0}, {"median": 390.43, "p90": 957.9}])
def test_lognormal_lengths_are_the_same_said_either_way(fields):
    found = lengths(traffic(Length("lognormal", 1, 100_000, **fields)))[:, 0]
    sigma = math.sqrt(math.log1p(0.64))
    assert np.median(found) == pytest.approx(500 / math.sqrt(1.64), rel=5 * 1.2533 * sigma / math.sqrt(COUNT) + 0.002)
    assert np.quantile(found, 0.9) == pytest.approx(957.9, rel=0.03)
    assert found.mean() == pytest.approx(500, rel=5 * 0.8 / math.sqrt(COUNT))


def test_lengths_are_held_within_their_bounds():
    found = lengths(traffic(Length("normal", 90, 110, mean=100.0, stdev=50.0)))[:, 0]
    assert (found.min(), found.max()) == (90, 110)
    assert set(np.unique(found)) == set(range(90, 111))


def test_lengths_of_a_table_come_in_its_pairs():
    data = b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(1, 31))
    name = digest_of(data)
    columns = [Length("table", 1, 10_000, table=name, column=c) for c in "ab"]
    found = lengths(traffic(*columns, tables=Tables({name: data})))
    assert np.array_equal(found[:, 1], found[:, 0] ** 2)
    assert stats.chisquare(np.bincount(found[:, 0])[1:]).pvalue > 1e-6


def test_two_tables_are_drawn_from_independently():
    files = [b"n\n" + b"".join(b"%d\n" % (n + extra) for n in range(50)) for extra in (1, 2)]
    tables = Tables({digest_of(f): f for f in files})
    found = lengths(traffic(*(Length("table", 1, 99, table=digest_of(f), column="n") for f in files), tables=tables))
    assert abs(np.corrcoef(found.T)[0, 1]) < 5 / math.sqrt(COUNT)


def test_a_missing_file_is_said():
    with pytest.raises(BadInput, match="did not come with the workload"):
        traffic(Length("table", 1, 9, table="0" * 16, column="n"))


def test_prefixes_are_shared_within_groups_only():
    asked = traffic(48, prefix=Prefix(32, 5))
    prompts = [asked.request(n).prompt for n in range(2_000)]
    groups = {tuple(p[:32]) for p in prompts}
    assert len(groups) == 5
    assert len({g[:6] for g in groups}) == 5
    assert len({tuple(p[32:]) for p in prompts}) == 2_000
    sizes = [sum(tuple(p[:32]) == g for p in prompts) for g in groups]
    assert stats.chisquare(sizes).pvalue > 1e-6
    assert all(len(p) == 48 for p in prompts)


def test_a_prompt_keeps_a_token_of_its_own_beside_a_long_prefix():
    asked = traffic(Length("uniform", 1, 64), prefix=Prefix(40))
    for request in map(asked.request, range(300)):
        assert len(request.prompt) == request.input_tokens
    longer = [r.prompt for r in map(asked.request, range(300)) if r.input_tokens > 1]
    assert len({p[0] for p in longer}) == 1


def test_another_trial_shares_nothing():
    one, other = traffic(48, prefix=Prefix(32, 5)), traffic(48, prefix=Prefix(32, 5), prompt_seed=4)
    prefixes = [{tuple(t.request(n).prompt[:8]) for n in range(200)} for t in (one, other)]
    assert not prefixes[0] & prefixes[1]


def test_turns_extend_the_former_prompt():
    talk = Conversation(4, 1.5)
    asked = traffic(Length("uniform", 5, 50), Length("uniform", 2, 9), conversation=talk, prefix=Prefix(3, 2))
    assert asked.turns == 4
    for i in range(50):
        turns = [asked.request(4 * i + k) for k in range(4)]
        assert [t.pause_s for t in turns] == [1.5, 1.5, 1.5, None]
        for former, after in itertools.pairwise(turns):
            assert after.prompt[: len(former.prompt)] == former.prompt
            own = asked.source.lengths.of(after.number)[0]
            assert after.input_tokens == len(former.prompt) + former.output_tokens + own
    starts = {tuple(asked.request(4 * i).prompt[3:]) for i in range(50)}
    assert len(starts) == 50


def test_the_context_holds_the_longest_conversation():
    workload = Workload(Length("uniform", 5, 50), 9, 4, conversation=Conversation(4), seed=1)
    assert workload.context_tokens == 4 * 59
    asked = make_traffic(workload, prompt_seed=1, vocab_size=99, tables=Tables())
    longest = max(r.input_tokens + r.output_tokens for r in map(asked.request, range(3, 4_000, 4)))
    assert 150 < longest <= 4 * 59


def test_a_search_and_the_measurement_share_lengths_but_no_prompts():
    asked = traffic(Length("uniform", 30, 60), arrivals=Arrivals("poisson"), load=Load(fraction=0.9), prefix=Prefix(8))
    parts = (asked, asked.saturating(), asked.at_rate(3.0), asked.at_rate(3.5))
    drawn = [[t.request(n) for n in range(100)] for t in parts]
    assert len({tuple(r.input_tokens for r in d) for d in drawn}) == 1
    assert len({tuple(r.prompt[8:20]) for d in drawn for r in d}) == 400
    assert len({tuple(r.prompt[:8]) for d in drawn for r in d}) == 1
    assert [r.prompt for r in drawn[2]] == [asked.at_rate(3.0).request(n).prompt for n in range(100)]


def test_natural_stops_are_not_fixed_lengths():
    assert not traffic(stop="natural").request(0).fixed_length


def test_tables_travel_by_folder(tmp_path):
    tables = Tables({digest_of(b"x"): b"x", digest_of(b"y"): b"y"})
    tables.only({digest_of(b"x")}).write(tmp_path / "in")
    assert Tables.read(tmp_path / "in").files == {digest_of(b"x"): b"x"}
    assert Tables.read(tmp_path / "none").files == {}


OWN = [
    {"prompt": "Why?", "max_tokens": 7},
    {"messages": [{"role": "user", "content": "How?"}], "output_tokens": 9, "id": 3},
    {"prompt": [5, 6, 7]},
]


def own_traffic(lines, **more):
    data = "\n".join(json.dumps(line) for line in lines).encode()
    prompts = digest_of(data)
    return traffic(
        Length("prompts", 1, 99), more.pop("outputs", 20), tables=Tables({prompts: data}), prompts=prompts, **more
    )


def test_own_prompts_are_sent_as_they_are():
    asked = own_traffic(OWN, stop="natural", outputs=Length("prompts", 7, 20, otherwise=20))
    found = {json.dumps(r.prompt): r for r in map(asked.request, range(3))}
    assert [found[json.dumps(line.get("prompt", line.get("messages")))].output_tokens for line in OWN] == [7, 9, 20]
    assert [found[json.dumps(line.get("prompt", line.get("messages")))].input_tokens for line in OWN] == [None, None, 3]
    assert not any(r.fixed_length for r in found.values())


def test_own_prompts_are_cycled_in_orders_that_the_seeds_decide():
    lines = [{"prompt": f"p{n}"} for n in range(40)]
    asked = own_traffic(lines)
    cycles = [[asked.request(40 * c + k).prompt for k in range(40)] for c in range(6)]
    assert all(sorted(c) == sorted(line["prompt"] for line in lines) for c in cycles)
    assert len({tuple(c) for c in cycles}) == 6
    assert [own_traffic(lines).request(k).prompt for k in range(40)] == cycles[0]
    assert [own_traffic(lines, prompt_seed=4).request(k).prompt for k in range(40)] != cycles[0]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", "line 2 of the prompts"),
        ('{"text": "x"}', 'write {"prompt"'),
        ('{"prompt": ""}', "a text that is not empty"),
        ('{"prompt": [1, "a"]}', "or a list of token ids"),
        ('{"messages": []}', "messages must be a list"),
        ('{"messages": [{"role": "user"}]}', "messages must be a list"),
        ('{"prompt": "a", "max_tokens": 0}', "one whole number of at least 1"),
        ('{"prompt": "a", "max_tokens": 3, "output_tokens": 4}', "one whole number of at least 1"),
    ],
)
def test_a_wrong_line_is_named(line, says):
    data = f'{{"prompt": "fine"}}\n{line}\n'.encode()
    workload = Workload(Length("prompts", 1, 9), 5, 1, prompts=digest_of(data))
    with pytest.raises(BadInput) as caught:
        make_traffic(workload, prompt_seed=1, vocab_size=9, tables=Tables({digest_of(data): data}))
    assert says in str(caught.value)
    assert "line 2" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_prompts_at_all():
    workload = Workload(Length("prompts", 1, 9), 5, 1, prompts=digest_of(b"\n"))
    with pytest.raises(BadInput, match="is empty"):
        make_traffic(workload, prompt_seed=1, vocab_size=9, tables=Tables({digest_of(b"\n"): b"\n"}))
