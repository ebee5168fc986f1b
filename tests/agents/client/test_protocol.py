"""HTTP as servers really speak it: every way an answer can come and end has a defined outcome."""

import os
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

import pytest

from joulemark.agents.client.job import Broken, Done
from joulemark.workloads.workload import Workload

sys.path.insert(0, str(Path(__file__).parent))
from raw_server import HEAD, LAST, RawServer, chunk, event, final, reset, run, token, us, whole

HERE = Path(__file__).parent
OPEN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def plain(data):
    """The payload of an answer without the chunks of HTTP."""
    out = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        out += rest[: int(size, 16)]
        data = rest[int(size, 16) + 2 :]
    return out


BODY = event(token(1)) + event(token(6)) + final(6)


def served(tmp_path, answer, workload=None, **changes):
    with RawServer(answer) as server:
        result, rows = run(server.url, tmp_path, workload, **changes)
    return result, rows, server


def says(*parts, close=False):
    def answer(connection, _):
        for part in parts:
            connection.sendall(part)
            time.sleep(0.002)
        return close

    return answer


def test_one_connection_serves_a_stream_after_the_other(tmp_path):
    _, rows, server = served(tmp_path, says(whole()))
    assert {r["status"] for r in rows} == {"ok"}
    assert server.connections == 2


def test_an_answer_cut_at_every_byte(tmp_path):
    data = whole()

    def answer(connection, asked):
        at = asked.number % len(data)
        connection.sendall(data[:at])
        time.sleep(0.001)
        connection.sendall(data[at:])

    # Each request is cut at another byte.
    result, rows, _ = served(tmp_path, answer, Workload(7, 6, 4), window_s=len(data) * 0.0015)
    assert isinstance(result, Done)
    assert len(rows) > len(data) / 2
    assert {(r["status"], r["output_tokens"], sum(r["chunk_tokens"])) for r in rows} == {("ok", 6, 6)}


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(plain(BODY)), plain(BODY)), True),
        (says(OPEN, plain(BODY), close=True), False),
        (says(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(plain(BODY)), plain(BODY), close=True), False),
        (says(HEAD.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"), BODY, LAST, close=True), False),
        (says(b"HTTP/1.1 100 Continue\r\n\r\n", HEAD, BODY, LAST), True),
        (says(HEAD, chunk(b": ping\n\n"), BODY, chunk(b": ping\n\n"), LAST), True),
        (says(HEAD, plain(BODY)[:0] or chunk(plain(BODY).replace(b"\n", b"\r\n")), LAST), True),
        (says(HEAD.replace(b"chunked", b"Chunked"), BODY, b"0\r\nX-Trailer: 1\r\n\r\n"), True),
        # The connection breaks after [DONE]: nothing of the answer is missing.
        (says(HEAD, BODY, close=True), False),
        # More than was asked for: the answer stands, the connection does not.
        (says(HEAD, BODY + LAST + b"HTTP/1.1 200 OK\r\n\r\n"), False),
    ],
)
def test_whole_answers(tmp_path, answer, kept):
    result, rows, server = served(tmp_path, answer)
    assert isinstance(result, Done)
    assert {(r["status"], r["output_tokens"], r["error"]) for r in rows} == {("ok", 6, None)}
    assert (server.connections == 2) == kept
    assert len(server.asked) == len(rows), "a request was sent twice"


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (says(b"HTTP/1.1 429 Too Many\r\nContent-Length: 4\r\n\r\nbusy"), "failed", "HTTP 429: busy"),
        (says(b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n"), "failed", "HTTP 503"),
        (says(b"HTTP/1.1 500 Oh\r\n\r\nno length", close=True), "failed", "HTTP 500: no length"),
        (says(b"HTTP/1.1 307 There\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), "failed", "HTTP 307"),
        (says(HEAD, event(token(1)), event({"error": {"message": "out of blocks"}}), LAST), "failed", "out of blocks"),
        (says(HEAD, event({"object": "error", "message": "too long"}), LAST), "failed", "too long"),
        (says(HEAD, chunk(b"event: error\ndata: gone\n\n"), LAST), "failed", "gone"),
        (says(HEAD, event(token(3, finish_reason="abort")), final(3), LAST), "failed", "abort"),
        (says(HEAD, event(token(1)), b"what is this", LAST), "broken", "not HTTP"),
        (says(b"SSH-2.0-OpenSSH\r\n"), "broken", "not HTTP"),
        (says(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), "broken", "not HTTP"),
        (says(HEAD, event(b"{not json"), LAST), "broken", "not an event"),
        (says(HEAD, event(token(1)), close=True), "broken", "after 1 tokens"),
        (says(HEAD, event(token(1)), LAST), "broken", "without [DONE]"),
        (says(HEAD, event({"choices": [{"text": "x"}]}), event(b"[DONE]"), LAST), "broken", "no usage"),
        (says(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"ok": true}'[:-1]), "broken", "no event came, only"),
        (says(close=True), "broken", "before any answer"),
        (says(HEAD, event(token(1)), event(token(4, finish_reason="stop")), final(4), LAST), "truncated", "4 of 6"),
    ],
)
def test_bad_answers(tmp_path, answer, status, words):
    def sometimes(connection, asked):
        if asked.number % 3 != 2:
            connection.sendall(whole())
            return False
        return answer(connection, asked)

    result, rows, _ = served(tmp_path, sometimes, window_s=1.0)
    assert isinstance(result, Done)
    bad = [r for r in rows if r["status"] != "ok"]
    assert bad
    assert {r["status"] for r in bad} == {status}
    assert all(words in r["error"] for r in bad), bad[0]["error"]
    assert result.failed


def test_a_reset_is_broken(tmp_path):
    def answer(connection, asked):
        if asked.number % 4 != 3:
            connection.sendall(whole())
            return False
        connection.sendall(HEAD + event(token(2)))
        time.sleep(0.01)
        reset(connection)
        return True

    _, rows, _ = served(tmp_path, answer)
    broken = [r for r in rows if r["status"] != "ok"]
    assert {r["status"] for r in broken} == {"broken"}
    assert all("after 2 tokens" in r["error"] and r["output_tokens"] == 2 for r in broken)


def test_a_stall_ends_before_the_whole_answer_is_late(tmp_path):
    def answer(connection, asked):
        connection.sendall(HEAD + event(token(1)) if asked.number % 4 == 3 else whole())
        if asked.number % 4 == 3:
            time.sleep(30)

    _, rows, _ = served(tmp_path, answer, stall_timeout_s=0.3, request_timeout_s=60.0, drain_s=10.0)
    stalled = [r for r in rows if r["status"] != "ok"]
    assert stalled
    assert {(r["status"], r["error"]) for r in stalled} == {("timeout", "nothing more came for 0.3 s")}
    assert all(0.3e6 <= us(r["ended_at"]) - us(r["sent_at"]) < 5e6 for r in stalled)


def test_kept_connections_that_turn_out_closed_are_made_anew_once(tmp_path):
    def answer(connection, asked):
        if asked.of_connection % 3 == 2:
            # Read, and not a word said: as a server whose keep-alive time has run out.
            return True
        connection.sendall(whole())
        return False

    result, rows, server = served(tmp_path, answer)
    assert {r["status"] for r in rows} == {"ok"}
    again = [r for r in rows if r["error"]]
    assert again
    assert {r["error"] for r in again} == {"sent again: the kept connection had been closed"}
    assert len(server.asked) == len(rows) + len(again)
    assert result.resent == len(again)
    assert "token_mismatch" not in result.reasons


def test_a_fresh_connection_that_closes_is_not_tried_again(tmp_path):
    def answer(connection, asked):
        if asked.number % 3 == 2 and not asked.of_connection:
            return True
        connection.sendall(whole())
        return True

    _, rows, server = served(tmp_path, answer, reuse_connections=False)
    assert "broken" in {r["status"] for r in rows}
    assert len(server.asked) == len(rows)


def test_a_server_that_announces_keep_alive_and_closes(tmp_path):
    _, rows, server = served(tmp_path, says(whole(), close=True), reuse_connections=False)
    assert {(r["status"], r["error"]) for r in rows} == {("ok", None)}
    # One that was made when the window ended carries nothing.
    assert len(rows) <= server.connections <= len(rows) + 2
    assert all("connection: close" in a.head.lower() for a in server.asked)


def test_nobody_listens(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    result, rows = run(f"http://127.0.0.1:{port}", tmp_path)
    assert isinstance(result, Broken)
    assert "refused" in result.error
    assert {r["status"] for r in rows} == {"broken"}


@pytest.mark.parametrize(
    "url", ["ftp://x/", "http://", "http://a b/", "http://u:p@h/", "http://h/?q=1", "http://h:0x/"]
)
def test_urls_that_are_none(tmp_path, url):
    result, _ = run(url, tmp_path)
    assert isinstance(result, Broken)
    assert "URL" in result.error


def test_a_name_that_nobody_knows(tmp_path):
    result, _ = run("http://no.such.host.invalid:1", tmp_path)
    assert isinstance(result, Broken)


def test_what_is_sent(tmp_path):
    with RawServer(says(whole())) as server:
        run(server.url + "/base/v1/", tmp_path, api_key="secret", body={"temperature": 0})
    asked = server.asked[0]
    assert asked.head.startswith("POST /base/v1/completions HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}" in asked.head
    assert "Authorization: Bearer secret" in asked.head
    assert (asked.body["temperature"], asked.body["stream"], asked.body["model"]) == (0, True, "model")


def test_ipv6(tmp_path):
    with RawServer(says(whole()), host="::1") as server:
        _, rows = run(server.url, tmp_path)
    assert {r["status"] for r in rows} == {"ok"}
    assert f"Host: [::1]:{server.port}" in server.asked[0].head


def test_names_are_looked_up(tmp_path):
    with RawServer(says(whole())) as server:
        _, rows = run(f"http://localhost:{server.port}", tmp_path)
    assert {r["status"] for r in rows} == {"ok"}


def test_https(tmp_path, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(HERE / "localhost.pem")
    with RawServer(says(whole()), tls=context) as server:
        refused, _ = run(server.url, tmp_path / "stranger")
        monkeypatch.setenv("SSL_CERT_FILE", str(HERE / "localhost.pem"))
        _, rows = run(server.url, tmp_path / "known")
    assert isinstance(refused, Broken)
    assert "certificate" in refused.error.lower()
    assert {r["status"] for r in rows} == {"ok"}


def test_no_proxy_stands_between(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    _, rows, _ = served(tmp_path, says(whole()))
    assert {r["status"] for r in rows} == {"ok"}


def test_never_more_connections_than_allowed(tmp_path):
    lock, now, most = threading.Lock(), [0], [0]

    def answer(connection, _):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= 1
        connection.sendall(whole())

    result, rows, _ = served(tmp_path, answer, Workload(7, 6, 8), max_connections=3, reuse_connections=False)
    assert {r["status"] for r in rows} == {"ok"}
    assert most[0] == 3
    assert "not_steady" in result.reasons


def test_prompts_larger_than_the_socket_holds(tmp_path):
    def answer(connection, _):
        time.sleep(0.01)
        connection.sendall(whole())

    _, rows, server = served(tmp_path, answer, Workload(400_000, 6, 1), vocab_size=100_000)
    assert {r["status"] for r in rows} == {"ok"}
    assert all(len(a.body["prompt"]) == 400_000 for a in server.asked)


def test_a_refusal_while_the_prompt_is_still_on_its_way(tmp_path):
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)
    pid = os.fork()
    if not pid:
        # Reads a little, refuses, and reads no more.
        while True:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge")
            time.sleep(0.05)
            connection.close()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        result, rows = run(url, tmp_path, Workload(400_000, 6, 1), vocab_size=100_000)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        listener.close()
    assert isinstance(result, Broken)
    assert {r["status"] for r in rows} == {"failed"}
    assert all("HTTP 413: large" in r["error"] for r in rows)


def test_retry_after_is_obeyed_in_a_closed_loop(tmp_path):
    def answer(connection, asked):
        if asked.number == 20:
            connection.sendall(b"HTTP/1.1 429 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
        else:
            time.sleep(0.002)
            connection.sendall(whole())

    _, rows, server = served(tmp_path, answer, Workload(7, 6, 1), window_s=2.0)
    assert [r["status"] for r in rows].count("failed") == 1
    assert server.asked[21].at - server.asked[20].at >= 1.0


def test_a_count_that_goes_back_is_not_hidden(tmp_path):
    bad = HEAD + event(token(3)) + event(token(2)) + event(token(6)) + final(6) + LAST
    result, rows, _ = served(tmp_path, says(bad))
    assert {(r["status"], r["error"]) for r in rows} == {("ok", "the usage count went back from 3 to 2")}
    assert "token_mismatch" in result.reasons


def test_chat_messages_go_to_the_chat_api(tmp_path):
    prompts = b'{"messages": [{"role": "user", "content": "Why?"}], "output_tokens": 6}\n'
    from joulemark.workloads.traffic.tables import digest_of

    digest = digest_of(prompts)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / digest).write_bytes(prompts)
    chat = {"choices": [{"delta": {"role": "assistant", "content": ""}}], "usage": {"completion_tokens": 0}}
    thinks = {"choices": [{"delta": {"reasoning_content": "hm"}}], "usage": {"completion_tokens": 2}}
    talks = {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 5}}
    end = final(5, completion_tokens_details={"reasoning_tokens": 2})
    answer = says(HEAD, event(chat), event(thinks), event(talks), end, LAST)
    workload = Workload(16, 6, 2, prompts=digest, stop="natural")
    _, rows, server = served(tmp_path, answer, workload, tables=str(tmp_path / "tables"))
    assert all(a.head.startswith("POST /v1/chat/completions ") for a in server.asked)
    assert server.asked[0].body["messages"] == [{"role": "user", "content": "Why?"}]
    assert "prompt" not in server.asked[0].body
    assert "ignore_eos" not in server.asked[0].body
    assert {(r["status"], r["output_tokens"], sum(r["chunk_tokens"])) for r in rows} == {("ok", 5, 5)}
    assert {len(r["chunk_dt_us"]) for r in rows} <= {1, 2}
