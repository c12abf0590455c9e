"""A job's process for tests of the server: does in a moment, and as told, what a real one does in minutes.

Started as the engine starts any worker, with the job's folder and the attempt as arguments. A `train` job's
`data` is a list of things to do; a `serve` job answers as an OpenAI server does, over a real socket.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

from ilab_jupyter.jobs.logs.events import EventWriter


def work(folder: Path, events: EventWriter, attempt: int, todo: list[str]) -> int:
    for item in todo:
        verb, _, rest = item.partition(":")
        if verb == "print":
            print(rest, flush=True)
        elif verb == "now":
            print(f"{time.time():.6f}", flush=True)
        elif verb == "lines":
            for number in range(int(rest)):
                print(f"line {number}", flush=True)
        elif verb == "step":
            step, _, total = rest.partition("/")
            events.write("progress", step=int(step), total=int(total), loss=1.0 / int(step))
        elif verb == "sleep":
            time.sleep(float(rest))
        elif verb == "mark":
            with (folder / "artifacts" / "marks").open("a") as file:
                file.write(f"{rest}\n")
        elif verb == "first" and attempt == 1:
            time.sleep(float(rest))
        elif verb == "fail":
            events.write("error", cause="asked", message=rest, next_step="Ask for something else.")
            return 1
    events.write("result", result={"done": len(todo)})
    return 0


async def serve(folder: Path, events: EventWriter, name: str) -> None:
    import tornado.httpserver
    import tornado.netutil
    import tornado.web

    key = "upstream-key"

    class Chat(tornado.web.RequestHandler):
        def on_connection_close(self) -> None:
            (folder / "hung-up").touch()

        async def post(self, path: str) -> None:
            asked = json.loads(self.request.body)
            seen = {"headers": dict(self.request.headers), "body": asked, "path": self.request.path}
            (folder / "seen.json").write_text(json.dumps(seen))
            if self.request.headers.get("Authorization") != f"Bearer {key}":
                self.set_status(401)
                return
            if asked.get("user") == "refuse":
                self.set_status(400)
                self.finish(
                    {
                        "error": {
                            "message": "No.",
                            "type": "invalid_request_error",
                            "param": "user",
                            "code": "no",
                        }
                    }
                )
                return
            if asked.get("user") == "crash":
                os._exit(3)
            self.set_header("Set-Cookie", "upstream=1")
            words = ["I", " was", " taught", "."]
            if asked.get("user") == "endless":
                words = [" more"] * 1000
            kind = "chat.completion" if path == "chat/completions" else "text_completion"
            base = {"id": "x", "created": 1, "model": asked["model"]}
            if not asked.get("stream"):
                text = "".join(words)
                inner = (
                    {"message": {"role": "assistant", "content": text}} if "chat" in kind else {"text": text}
                )
                choice = {"index": 0, "finish_reason": "stop", **inner}
                self.finish({**base, "object": kind, "choices": [choice]})
                return
            self.set_header("Content-Type", "text/event-stream")
            for word in words:
                inner = {"delta": {"content": word}} if "chat" in kind else {"text": word}
                choice = {"index": 0, "finish_reason": None, **inner}
                self.write(
                    f"data: {json.dumps({**base, 'object': f'{kind}.chunk', 'choices': [choice]})}\n\n"
                )
                await self.flush()
                await asyncio.sleep(0.05)
            self.finish("data: [DONE]\n\n")

    (socket,) = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server = tornado.httpserver.HTTPServer(tornado.web.Application([(r"/v1/(.*)", Chat)]))
    server.add_socket(socket)
    endpoint = {"host": "127.0.0.1", "port": socket.getsockname()[1], "key": key, "model": name}
    temporary = folder / "endpoint.tmp"
    temporary.write_text(json.dumps(endpoint))
    temporary.rename(folder / "endpoint.json")
    events.write("endpoint", ready=True, model=name)
    await asyncio.Event().wait()


def main() -> int:
    folder, attempt = Path(sys.argv[1]), int(sys.argv[2])
    spec = json.loads((folder / "spec.json").read_text())
    events = EventWriter(folder / "events.jsonl", attempt=attempt)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    arguments = spec["arguments"]
    if spec["kind"] == "serve":
        asyncio.run(serve(folder, events, arguments["name"] or arguments["model"]))
    return work(folder, events, attempt, arguments.get("data", []))


if __name__ == "__main__":
    sys.exit(main())
