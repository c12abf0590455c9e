"""The live view's state: bounded, whole for a page that comes late, and small on the wire."""

from __future__ import annotations

import json

from ilab_jupyter.widgets.job import POINTS, extend
from ilab_jupyter.widgets.tail import LINE_LENGTH, LINES, LogTail

LIVE = """
from ilab_jupyter.widgets import display as live
job = %ilab train data.jsonl --name {name} --max-steps {steps}
display(job)
shown = live._open[job]
view, sent = shown.view, []
send = view.comm.send
view.comm.send = lambda *args, **kwargs: (sent.append((args, kwargs)), send(*args, **kwargs))
"""


def test_view_keeps_all_lines_and_sends_new_ones(run_cells) -> None:
    *_, facts = run_cells(
        LIVE.format(name="slow", steps=25),
        "job.wait();",
        "import json\n"
        "messages = [args[0] if args else kwargs['data'] for args, kwargs in sent]\n"
        "custom = [message['content'] for message in messages if message['method'] == 'custom']\n"
        "state = [key for message in messages if message['method'] == 'update' for key in message['state']]\n"
        "whole = view.get_state()\n"
        "print(json.dumps({'curve': len(whole['curve']), 'lines': whole['tail']['lines'][-1],\n"
        "  'points': sum(len(c.get('points', [])) for c in custom), 'sent': len(custom),\n"
        "  'state': sorted(set(state)),\n"
        "  'job': view.get_state()['job']['state'], 'hides': view.hides}))",
    )
    seen = json.loads("".join(output.text for output in facts.outputs))
    assert seen["curve"] == 25 and seen["lines"].startswith("step 25/25 ")
    assert 0 < seen["points"] <= 25
    # 3 seconds of work at no more than five updates a second, each of points and of log lines.
    assert seen["sent"] <= 2 * 5 * 5
    assert seen["state"] == ["job"]
    assert seen["job"] == "SUCCEEDED"
    assert seen["hides"].startswith("ilab-job-")


def test_view_of_queued_job_updates_its_position(run_cells) -> None:
    *_, shown = run_cells(
        "service.configure(slots={'batch': 1})\n"
        "first = %ilab train data.jsonl --name slow --max-steps 2000\n"
        "second = %ilab train data.jsonl --name slow --max-steps 2000",
        LIVE.format(name="slow", steps=2),
        "import time\n"
        "def wait_for(text):\n"
        "    deadline = time.monotonic() + 40\n"
        "    while text not in view.job['where'] and time.monotonic() < deadline: time.sleep(0.05)\n"
        "    print(view.job['where'])\n"
        "wait_for('number 2 in its queue')\nfirst.cancel()\nwait_for('number 1 in its queue')\n"
        "second.cancel()\njob.cancel();",
    )
    before, after = "".join(output.text for output in shown.outputs).splitlines()
    assert "number 2 in its queue" in before and "number 1 in its queue" in after


def test_cancel_button_stops_job_and_invalid_message_is_rejected(run_cells) -> None:
    _, notice, done = run_cells(
        LIVE.format(name="slow", steps=2000),
        "import time\n"
        "view._handle_custom_msg({'action': 'resume'}, [])\n"
        "view._handle_custom_msg({'action': 'rm'}, [])\nview._handle_custom_msg('cancel', [])\n"
        "time.sleep(1)\nprint(view.notice)",
        "view._handle_custom_msg({'action': 'cancel'}, [])\n"
        "job.cancel().wait()\n"
        "print(job.state, view.notice)",
    )
    assert "Cancel it first, or wait." in notice.outputs[0].text
    assert done.outputs[-1].text.strip().startswith("CANCELLED")


def test_a_click_on_resume_makes_the_view_live_again(run_cells) -> None:
    *_, facts = run_cells(
        LIVE.format(name="fails", steps=6),
        "try:\n    job.wait()\nexcept Exception as error:\n    print(error)",
        "import time\nview._handle_custom_msg({'action': 'resume'}, [])\n"
        "end = time.monotonic() + 20\n"
        "while view.job['state'] != 'SUCCEEDED' and time.monotonic() < end: time.sleep(0.1)\n"
        "print(view.job['state'], [step for step, loss in view.curve], view.tail['lines'][0])",
    )
    assert facts.outputs[0].text.strip() == "SUCCEEDED [1, 2, 3, 4, 5, 6] worker of train, attempt 2"


def test_the_log_keeps_its_last_lines_only() -> None:
    tail = LogTail()
    for number in range(3 * LINES):
        tail.append(f"line {number}\n")
    assert len(tail.lines) == LINES and tail.lines[-1] == f"line {3 * LINES - 1}"
    assert tail.append("x" * (5 * LINE_LENGTH) + "\n") == ["x" * LINE_LENGTH]


def test_a_progress_bar_that_rewrites_its_line_takes_no_room() -> None:
    tail = LogTail()
    for percent in range(100_000):
        tail.append(f"\r{percent} steps \x1b[1mdone\x1b[0m")
    assert tail.rest == "99999 steps done"
    assert len(tail._open) < 100
    assert tail.append("\rall done        \nnext") == ["all done        "]
    assert tail.rest == "next"


def test_a_line_that_comes_in_pieces_is_one_line() -> None:
    tail = LogTail()
    assert tail.append("ha") == [] and tail.rest == "ha"
    assert tail.append("lf\nand ") == ["half"]
    assert tail.append("10%\r") == [] and tail.rest == "and 10%"
    assert tail.append("\n") == ["and 10%"]


def test_the_curve_is_bounded_and_a_repeated_step_overwrites() -> None:
    curve: list[list[float]] = []
    for step in range(5 * POINTS):
        curve = extend(curve, [[step, 1.0]])
    assert POINTS <= len(curve) <= 2 * POINTS and curve[-1][0] == 5 * POINTS - 1
    assert extend([[1, 3.0], [2, 2.0], [3, 1.0]], [[2, 9.0]]) == [[1, 3.0], [2, 9.0]]
