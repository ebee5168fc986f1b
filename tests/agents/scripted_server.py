"""A completions server over real sockets that answers exactly as scripted, and remembers what it sent when."""

import asyncio
import json
import threading


class Script:
    """How one request is answered: steps of (delay in seconds, cumulative tokens) and how it ends."""

    def __init__(self, steps, end="done", status=200, usage=None, counts="usage"):
        self.steps, self.end, self.status, self.counts = steps, end, status, counts
        self.usage = usage if usage is not None else (steps[-1][1] if steps else 0)


class ScriptedServer:
    """Runs in a thread of its own for as long as the block lasts; ``script(body, number)`` gives each answer."""

    def __init__(self, script):
        self.script = script
        self.bodies = []
        self.url = None
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()

    def __enter__(self):
        threading.Thread(target=self._run, daemon=True).start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()

    async def _serve(self, reader, writer):
        try:
            while await self._one(reader, writer):
                continue
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.transport.abort()
        writer.close()

    async def _one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        number = len(self.bodies)
        self.bodies.append(body)
        script = self.script(body, number)
        if script.status != 200:
            text = b'{"error": {"message": "scripted refusal"}}'
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (script.status, len(text), text))
            await writer.drain()
            return True
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for delay, tokens in script.steps:
            await asyncio.sleep(delay)
            self._event(writer, {"choices": [{"text": "x", "index": 0}], **_count(script.counts, tokens)})
        if script.end == "stall":
            await asyncio.sleep(600)
        if script.end == "close":
            writer.transport.abort()
            return False
        if script.end == "garbage":
            self._chunk(writer, b"data: {what is this\n\n")
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": script.usage}
        self._event(writer, {"choices": [], "usage": usage})
        self._chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def _event(self, writer, event):
        self._chunk(writer, b"data: " + json.dumps(event).encode() + b"\n\n")

    def _chunk(self, writer, data):
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))


def _count(kind, tokens):
    if kind == "usage":
        return {"usage": {"prompt_tokens": 1, "completion_tokens": tokens}}
    return {"timings": {"predicted_n": tokens}} if kind == "timings" else {}
