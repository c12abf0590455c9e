"""One generation step in a separate process: `ours` or `instructlab-sdg`. Prints its figures as JSON.

Both have the same changes that instructlab-sdg needs on today's libraries, the same pipeline (its `full` one
for freeform skills) and the same samples on disk; both leave the generated rows on disk.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ilab_jupyter.synthesis import compatibility

LEAVES = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("who", choices=["ours", "instructlab-sdg"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    inputs = _samples(given.folder, given.rows)
    with compatibility.environment(given.folder, {}):
        sdg = compatibility.patch()
        work = _ours if given.who == "ours" else _theirs
        start = work(sdg, given.url, given.workers, inputs, given.folder)
        before = resource.getrusage(resource.RUSAGE_SELF)
        began = time.monotonic()
        start()
        seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    made = sum(len(path.read_bytes().splitlines()) for path in (given.folder / "generated").glob("*.jsonl"))
    figures = {
        "seconds": seconds,
        "made": made,
        "peak_mib": after.ru_maxrss / 1024,
        "grown_mib": (after.ru_maxrss - before.ru_maxrss) / 1024,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }
    print(json.dumps(figures))


def _samples(folder: Path, rows: int) -> Path:
    """Samples as instructlab-sdg makes them of leaves with many seed examples."""
    inputs = folder / "inputs"
    inputs.mkdir()
    for leaf in range(LEAVES):
        node = f"compositional_skills_leaf_{leaf}"
        compatibility.write_lines(
            inputs / f"{node}.jsonl",
            [
                {
                    "task_description": f"to tell about thing {leaf}",
                    "seed_question": f"What is thing {number} of {leaf}?",
                    "seed_response": f"Thing {number} is a thing of {leaf}. " * 10,
                    "leaf_node_type": "skill",
                    "leaf_node_path": node,
                }
                for number in range(rows // LEAVES)
            ],
        )
    (folder / "generated").mkdir()
    return inputs


def _theirs(sdg: Any, url: str, workers: int, inputs: Path, folder: Path) -> Callable[[], None]:
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    client.server_supports_batched = True  # type: ignore[attr-defined]  # what its probe would find

    def start() -> None:
        sdg.generate_taxonomy(
            client,
            input_dir=str(inputs),
            output_dir=str(folder / "generated"),
            model_id="tutor",
            num_cpus=workers,
            batch_size=8,
            pipeline="full",
            console_output=False,
        )

    return start


def _ours(sdg: Any, url: str, workers: int, inputs: Path, folder: Path) -> Callable[[], None]:
    from ilab_jupyter.progress import ConsoleReporter
    from ilab_jupyter.synthesis.driver.client import Client
    from ilab_jupyter.synthesis.driver.flow import Lane, apart, drive
    from ilab_jupyter.synthesis.driver.ledger import Ledger
    from ilab_jupyter.synthesis.driver.pool import Pool
    from ilab_jupyter.synthesis.journal import Journal
    from ilab_jupyter.synthesis.settings import TeacherSettings
    from ilab_jupyter.synthesis.teachers.remote import RemoteTeacher

    settings = TeacherSettings(kind="openai", url=f"{url}/v1", model="tutor")

    async def work() -> None:
        teacher = RemoteTeacher.connect(settings, workers)
        ledger = Ledger(ConsoleReporter(interval=30), folder / "rejected.jsonl")
        with Journal(folder / "answers.jsonl") as journal:
            async with Pool(teacher, journal, most=workers, on_answers=ledger.answered) as pool:
                context = sdg._context_init(Client(pool), None, "tutor", 30, None, 1, None, 8)
                _, freeform, _ = sdg._sdg_init(context, "full")
                lanes = [
                    Lane(path.stem, freeform, compatibility.read_lines(path), _written(folder, path.name))
                    for path in sorted(inputs.iterdir())
                ]
                await drive(lanes, pool, ledger, 8)
        await teacher.close()
        ledger.close()

    return lambda: apart(work)


def _written(folder: Path, name: str) -> Callable[[list[dict[str, Any]]], None]:
    def keep(rows: list[dict[str, Any]]) -> None:
        with (folder / "generated" / name).open("a", encoding="utf-8") as out:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    return keep


if __name__ == "__main__":
    main()
