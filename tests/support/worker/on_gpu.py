"""A training on a GPU that runs out of memory, or breaks a kernel, at a chosen step; in the real shell."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ilab_jupyter.kinds import catalog, worker
from ilab_jupyter.kinds.context import Context, TaskSpec


class Steps(TaskSpec):
    """`do` is one step: ["on_gpu", how it ends, after how many steps, a file to write just before]."""

    do: list[list[Any]]


def run(spec: Steps, context: Context) -> dict[str, Any]:
    """Train a layer for `count` steps; then be done, ask for more memory than there is, or break a kernel."""
    import torch

    _, how, count, about = spec.do[0]
    layer = torch.nn.Linear(2048, 2048, device="cuda")
    optimizer = torch.optim.AdamW(layer.parameters())
    for step in range(1, count + 1):
        loss = layer(torch.randn(64, 2048, device="cuda")).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        context.reporter.progress(step, count, loss=loss.item())
    Path(about).write_text(str(time.monotonic()))
    if how == "out of memory":
        kept = []
        while True:
            kept.append(torch.empty(2**30, dtype=torch.uint8, device="cuda"))
    if how == "cuda error":
        torch.zeros(4, device="cuda")[torch.tensor([2**20], device="cuda")].sum().item()
    return {"steps": count, "memory": torch.cuda.max_memory_allocated()}


def main() -> None:
    catalog.KINDS["train"] = catalog.Kind(
        name="train", spec=Steps, run=run, title="Test", summary="Run a test."
    )
    sys.exit(worker.main(sys.argv[1:]))
