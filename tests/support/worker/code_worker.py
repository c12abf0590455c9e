"""The real worker with one more kind, `code`: its work is the Python code in its arguments.

The code sees `context` and `reporter`; what it assigns to `result` is the job's result.
"""

from __future__ import annotations

import sys
from typing import Any

from ilab_jupyter.kinds import catalog, worker
from ilab_jupyter.kinds.context import Context, TaskSpec


class Code(TaskSpec):
    code: str


def run(spec: Code, context: Context) -> dict[str, Any]:
    names: dict[str, Any] = {"context": context, "reporter": context.reporter, "result": {}}
    exec(spec.code, names)
    result: dict[str, Any] = names["result"]
    return result


if __name__ == "__main__":
    catalog.KINDS["code"] = catalog.Kind(name="code", spec=Code, run=run, title="Test", summary="Run a test.")
    sys.exit(worker.main(sys.argv[1:]))
