"""A worker without a model: `python -m scripted_worker <job folder> <attempt>`. Its name says how a job goes.

train: `max_steps` steps of 0.12 s with a falling loss; a name that begins with fails ends in an error, one
with evil prints what must not be shown as HTML. generate: writes a dataset. serve: a real OpenAI-speaking
server on loopback that repeats the question.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ilab_jupyter import paths
from ilab_jupyter.tasks.reporter import EventReporter


class Cancelled(Exception):
    pass


def train(arguments: dict[str, Any], name: str, reporter: EventReporter, attempt: int) -> dict[str, Any]:
    total = int(arguments.get("max_steps") or 5)
    reporter.phase("training")
    for step in range(1 if attempt == 1 else 2, total + 1):
        time.sleep(0.12)
        print(f"\rstep {step}/{total}", flush=True)
        if name.startswith("evil"):
            print(
                "<script>document.title='owned'</script><img src=x onerror=alert(1)>\x1b[31m red \x1b[0m",
                flush=True,
            )
        reporter.progress(step, total, loss=3.0 / step)
        if name.startswith("fails") and step == 3 and attempt == 1:
            reporter.last_word(
                "error", cause="bad_data", message="Row 7 has <b>no</b> answer.", next_step="Mend row 7."
            )
            sys.exit(1)
        if reporter.stopping:
            raise Cancelled
    return {"model": name or "tuned", "path": "/nowhere", "steps": total}


def generate(arguments: dict[str, Any], name: str, reporter: EventReporter, folder: Path) -> dict[str, Any]:
    reporter.phase("generating")
    variable = (arguments.get("teacher") or {}).get("api_key_env", "ILAB_TEACHER_API_KEY")
    print(f"key in {variable}: {len(os.environ.get(variable, ''))} letters", flush=True)
    dataset = paths.datasets_dir() / (name or "made")
    dataset.mkdir(parents=True)
    row = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Orlin."}]}
    (dataset / "skills_train_msgs_x.jsonl").write_text(json.dumps(row) + "\n")
    return {"dataset": dataset.name, "path": str(dataset), "files": ["skills_train_msgs_x.jsonl"], "rows": 1}


class Answers(BaseHTTPRequestHandler):
    key = ""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {self.key}":
            self.send_error(401)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        turns = len(body["messages"])
        for piece in (f"<i>{turns}</i> ", body["messages"][-1]["content"], "\x1b]0;title\x07", " end"):
            line = json.dumps({"choices": [{"index": 0, "delta": {"content": piece}}]})
            self.wfile.write(f"data: {line}\n\n".encode())
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: object) -> None:
        print(format % args, flush=True)


def serve(
    arguments: dict[str, Any], name: str, reporter: EventReporter, folder: Path, attempt: int
) -> dict[str, Any]:
    reporter.phase("loading")
    model = name or Path(arguments["model"]).name
    Answers.key = os.urandom(8).hex()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = {"host": "127.0.0.1", "port": server.server_port, "key": Answers.key, "model": model}
    (folder / "endpoint.json").write_text(json.dumps(endpoint))
    reporter.event("endpoint", ready=True, model=model)
    while not reporter.stopping:
        time.sleep(0.05)
    raise Cancelled


def main(folder: Path, attempt: int) -> int:
    reporter = EventReporter(folder / "events.jsonl", attempt)
    signal.signal(signal.SIGTERM, lambda *_: reporter.stop())
    spec = json.loads((folder / "spec.json").read_bytes())
    arguments, name = spec["arguments"], spec["name"]
    try:
        if spec["kind"] == "train":
            result = train(arguments, name, reporter, attempt)
        elif spec["kind"] == "generate":
            result = generate(arguments, name, reporter, folder)
        else:
            result = serve(arguments, name, reporter, folder, attempt)
    except Cancelled:
        return 128 + signal.SIGTERM
    reporter.last_word("result", result=result)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
