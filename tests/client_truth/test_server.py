"""The scripted server against its script: what leaves is what was composed, when it was due, and is remembered."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from answers import Answer, Step, steady

REQUEST = b"POST /v1/%s HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s"


@pytest.fixture
def ask():
    """Send a request over a connection that is kept, and read what comes until a mark or the end."""
    connections = {}

    def send(server, body=b"{}", api="completions", until=b"\r\n0\r\n\r\n", new=False):
        if new or server.port not in connections:
            connections[server.port] = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        connection = connections[server.port]
        connection.sendall(REQUEST % (api.encode(), len(body), body))
        got = b""
        while not got.endswith(until):
            more = connection.recv(65536)
            if not more:
                break
            got += more
        return got

    yield send
    for connection in connections.values():
        connection.close()


def events(got):
    """Return the events of a chunked answer, its frames taken off."""
    head, _, rest = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    content = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        content += rest[: int(size, 16)]
        assert rest[int(size, 16) :][:2] == b"\r\n"
        rest = rest[int(size, 16) + 2 :]
    lines = [line[6:] for line in content.split(b"\n\n") if line]
    return [line if line == b"[DONE]" else json.loads(line) for line in lines]


def composed(answer, api="completions"):
    return b"".join(w.data for w in answer.composed(api, "tiny").writes)


ANSWERS = {
    "steady": Answer(steady(4, 0.002)),
    "several tokens": Answer((Step(0.01, 1), Step(0.002, 3, text=" über"), Step(0.0, 2))),
    "cut": Answer(steady(3, 0.002), cut_every=7, cut_gap_s=0.0001),
    "cut to bytes": Answer(steady(2, 0.002), cut_every=1, cut_gap_s=0.0),
    "one frame a write": Answer((Step(0.002), Step(0.0), Step(0.0)), frames="write"),
    "late usage": Answer(steady(2, 0.001), tail_s=0.004, cached_tokens=3, reasoning_tokens=1),
    "as llama.cpp": Answer(steady(2, 0.001), counts="timings", event_more={"more": 1}),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("api", ["completions", "chat"])
def test_every_byte_is_the_scripts_and_left_when_due(playing, ask, answer, api):
    with playing(answer) as server:
        for _ in range(3):
            assert ask(server, api="chat/completions" if api == "chat" else api) == composed(answer, api)
        truth = server.truth()
    assert len(truth) == 3
    for played in truth:
        assert played.ended == "as scripted"
        assert len(played.written_ns) == len(played.composed.writes)
        assert (played.late_ns >= 0).all()
        assert played.began_ns <= played.read_ns <= played.started_ns <= played.written_ns[0]
        assert (played.written_ns[1:] >= played.written_ns[:-1]).all()
        assert played.events[1].tolist() == [s.tokens for s in answer.steps]
        assert (played.connection, played.nth) == (0, played.number)


def test_the_events_are_those_of_an_engine(playing, ask):
    with playing(ANSWERS["several tokens"]) as server:
        *tokens, last, done = events(ask(server))
    assert done == b"[DONE]"
    assert [t["choices"][0]["text"] for t in tokens] == [" x", " über", " x x"]
    assert [t["usage"]["completion_tokens"] for t in tokens] == [1, 4, 6]
    assert [t["choices"][0]["finish_reason"] for t in tokens] == [None, None, "length"]
    assert (last["choices"], last["usage"]["completion_tokens"], last["usage"]["prompt_tokens"]) == ([], 6, 7)


def test_a_token_is_told_by_the_write_that_ends_its_line():
    """For every size of piece: the writes before the one that is named do not hold the line, those up to it do."""
    answer = Answer((Step(0.01, 1), Step(0.0, 2), Step(0.01, 4)), cut_gap_s=0.0)
    for every in range(1, 400):
        for frames in ("event", "write"):
            whole = Answer(answer.steps, cut_every=every, cut_gap_s=0.0, frames=frames).composed("completions", "tiny")
            for (write, tokens), total in zip(whole.events, (1, 3, 7), strict=True):
                told = b'"completion_tokens":%d}}\n' % total
                assert told not in b"".join(w.data for w in whole.writes[:write])
                assert told in b"".join(w.data for w in whole.writes[: write + 1])
                assert tokens == {1: 1, 3: 2, 7: 4}[total]


def test_usage_on_chunks_only_for_those_who_ask(playing, ask):
    with playing(Answer(steady(3, 0.001)), as_asked=True) as server:
        without = events(ask(server))
        with_it = events(ask(server, b'{"stream_options": {"continuous_usage_stats": true}}'))
        truth = server.truth()
    assert [("usage" in e) for e in without[:-1]] == [False, False, False, True]
    assert [("usage" in e) for e in with_it[:-1]] == [True] * 4
    assert [t.tokens for t in truth] == [3, 3]


def test_answers_by_order_and_by_what_is_asked(playing, ask):
    three = [Answer(steady(n, 0.001), wanted=n) for n in (1, 2, 3)]
    with playing(*three, order=(2, 0)) as server:
        for _ in range(5):
            ask(server, b'{"max_tokens": 2}')
        assert [t.tokens for t in server.truth()] == [3, 1, 3, 1, 3]
    with playing(*three, by_max_tokens=True) as server:
        ask(server, b'{"max_tokens": 2}')
        ask(server, b'{"max_completion_tokens":3}')
        ask(server, b'{"max_tokens": 9}')
        assert [t.tokens for t in server.truth()] == [2, 3, 1]


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        (Answer(no_head=True, ends="close"), b""),
        (Answer(steady(4, 0.001), stop_after=2, ends="close"), b"\n\n\r\n"),
        (Answer(steady(4, 0.001), stop_after=2), b"0\r\n\r\n"),
        (Answer(steady(4, 0.001), stop_after=0, last_raw=b"what?", ends="close"), b"what?"),
        (Answer(steady(4, 0.001), ends="close"), b"0\r\n\r\n"),
        (Answer(steady(4, 0.001), done=False, final_usage=False), b"0\r\n\r\n"),
        (Answer.refusal(429, Retry_After="1"), b'refusal"}}'),
    ],
)
def test_faults(playing, ask, fault, ends):
    with playing(fault) as server:
        for _ in range(2):
            closes = fault.ends == "close"
            got = ask(server, until=b"(the end)" if closes else ends, new=closes)
            assert got == composed(fault)
            assert got.endswith(ends)
        assert [t.ended for t in server.truth()] == ["as scripted"] * 2


def test_a_reset_is_one(playing, ask):
    with playing(Answer(steady(4, 0.001), stop_after=1, ends="reset")) as server, pytest.raises(ConnectionResetError):
        ask(server)


def test_a_stall_lasts_until_the_client_leaves(playing):
    with playing(Answer(steady(4, 0.001), stop_after=1, ends="stall")) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(REQUEST % (b"completions", 2, b"{}"))
            assert b"data: " in connection.recv(65536) + connection.recv(65536)
            assert server.truth().requests[0].ended == "still going"
        until = time.monotonic() + 20
        while server.truth().requests[0].ended != "client left":
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_client_that_does_not_read_is_told_from_a_late_server(playing):
    big = Answer(tuple(Step(0.0, text="x" * 200_000) for _ in range(40)))
    with playing(big) as server, socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(REQUEST % (b"completions", 2, b"{}"))
        time.sleep(0.3)
        expected, got = len(composed(big)), 0
        while got < expected:
            got += len(connection.recv(1 << 20))
        until = time.monotonic() + 20
        while server.truth().requests[0].ended != "as scripted":
            assert time.monotonic() < until
        (played,) = server.truth()
    assert played.blocked > 0
    assert played.late_ns[-1] > 200_000_000


def test_slots_make_requests_wait_in_their_order(playing):
    with playing(Answer(steady(3, 0.02)), slots=2) as server:
        connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(6)]
        for connection in connections:
            connection.sendall(REQUEST % (b"completions", 2, b"{}"))
        # One that waits leaves: its place goes to the next.
        connections[3].close()
        until = time.monotonic() + 20
        while [t.ended for t in server.truth()].count("as scripted") < 5:
            assert time.monotonic() < until
            time.sleep(0.01)
        truth = server.truth()
    for connection in connections:
        connection.close()
    served = [t for t in truth if t.ended == "as scripted"]
    starts = [t.started_ns for t in served]
    assert starts == sorted(starts)
    for i in range(2, 5):
        assert starts[i] >= sorted(t.ended_ns for t in served)[i - 2]


def test_pages_requests_in_pieces_and_what_is_no_request(playing, ask):
    with playing(Answer(steady(1, 0.001))) as server:
        assert urllib.request.urlopen(server.url + "/health").status == 200
        models = json.load(urllib.request.urlopen(server.url + "/v1/models"))
        assert models["data"][0]["id"] == "tiny"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(server.url + "/nothing")
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            for byte in REQUEST % (b"completions", 3, b"{ }"):
                connection.sendall(bytes([byte]))
            assert connection.recv(20).startswith(b"HTTP/1.1 200")
        (played,) = server.truth()
        assert played.body == b"{ }"
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            assert connection.recv(20) == b""


def test_what_is_forgotten(playing, ask):
    with playing(Answer(steady(1, 0.001))) as server:
        ask(server)
        server.forget()
        ask(server)
        assert len(server.truth()) == 1
    assert len(server.truth()) == 1


def test_it_ends_with_the_process_that_started_it(program, tmp_path):
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "scripted_server")!r})
from pathlib import Path
from answers import Answer, steady
from script_file import Script
from server_process import ScriptedServer
server = ScriptedServer(Path({str(tmp_path)!r}), Path({str(program)!r}), Script([Answer(steady(1, 0.1))]))
server.__enter__()
print(server.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    until = time.monotonic() + 20
    while Path(f"/proc/{pid}/stat").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split():
        assert time.monotonic() < until
        time.sleep(0.01)
