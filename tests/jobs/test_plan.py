"""Scheduling order and decisions: examples, and properties of thousands of random queues."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ilab_jupyter.jobs.device import Device, Lease
from ilab_jupyter.jobs.queue.order import (
    GB,
    BlockedBy,
    Live,
    Machine,
    Need,
    Verdict,
    Waiting,
    plan,
    preemption_candidates,
    start_order,
)

NO_GPU = Need(gpus=0)


def machine(gpus: int = 0, memory_gb: int = 64, cpus: float = 8, disk_gb: int = 100) -> Machine:
    devices = tuple(Device(uuid=f"GPU-{n}", memory_total=80 * GB) for n in range(gpus))
    return Machine(devices, cpus, memory_gb * GB, disk_gb * GB, disk_gb * GB)


def job(number: int, need: Need = NO_GPU, **fields: Any) -> Waiting:
    fields = {"kind": "train", "owner": "ada", "queue": "batch", "priority": 0, "rank": number, **fields}
    return Waiting(id=f"job-{number}", seq=number, need=need, **fields)


def running(name: str, need: Need = NO_GPU, owner: str = "ada", queue: str = "batch") -> Live:
    return Live(name, 1, "train", owner, queue, need)


def starts(verdicts: list[Verdict]) -> list[str]:
    return [verdict.job.id for verdict in verdicts if verdict.blocked_by is None]


def test_priority_precedes_order_of_submission() -> None:
    jobs = [job(1, priority=-5), job(2), job(3), job(4, priority=9), job(5)]
    assert [one.seq for one in start_order(jobs, [])] == [4, 2, 3, 5, 1]


def test_owner_with_fewer_jobs_goes_first() -> None:
    jobs = [*(job(n) for n in range(100)), job(100, owner="bob"), job(101, owner="bob")]
    order = [one.owner for one in start_order(jobs, [running("x", owner="ada")])]
    assert order[:4] == ["bob", "ada", "bob", "ada"]


def test_owners_alternate_with_one_slot() -> None:
    jobs = [job(1), job(2), job(3, owner="bob"), job(4, owner="eve")]
    served = {("batch", "ada"): 1, ("batch", "bob"): 0}
    assert [one.owner for one in start_order(jobs, [], served)] == ["eve", "bob", "ada", "ada"]


def test_moved_job_keeps_its_rank() -> None:
    assert [one.seq for one in start_order([job(1), job(2), job(3, rank=1.5)], [])] == [1, 3, 2]


def test_delayed_retry_does_not_block_others() -> None:
    verdicts = plan([job(1, delay=30), job(2)], [], [], {"batch": 1}, machine())
    assert [(verdict.job.seq, verdict.blocked_by) for verdict in verdicts] == [
        (2, None),
        (1, BlockedBy.DELAY),
    ]


def test_whole_devices_are_exclusive() -> None:
    jobs = [job(1, Need()), job(2, NO_GPU), job(3, Need(gpus=1))]
    verdicts = plan(jobs, [], [], {"batch": 9}, machine(gpus=2))
    assert [[lease.device for lease in verdict.leases] for verdict in verdicts] == [["GPU-0"], [], ["GPU-1"]]


def test_small_jobs_fill_used_devices_first() -> None:
    share = Need(gpus=1, gpu_memory=30 * GB)
    verdicts = plan([job(n, share) for n in range(5)], [], [], {"batch": 9}, machine(gpus=2))
    assert Counter(lease.device for verdict in verdicts for lease in verdict.leases) == {
        "GPU-0": 2,
        "GPU-1": 2,
    }
    assert verdicts[-1].blocked_by is BlockedBy.DEVICES


def test_whole_device_is_not_assigned_while_shared() -> None:
    verdicts = plan(
        [job(1, Need(gpus=1))],
        [running("x")],
        [Lease(device="GPU-0", job="x", memory=GB)],
        {"batch": 9},
        machine(gpus=1),
    )
    assert verdicts[0].blocked_by is BlockedBy.DEVICES


def test_large_job_reserves_devices_before_smaller_ones() -> None:
    held = [Lease(device="GPU-0", job="x")]
    jobs = [job(1, Need(gpus=2)), job(2, Need(gpus=1)), job(3, NO_GPU)]
    verdicts = plan(jobs, [running("x", Need(gpus=1))], held, {"batch": 4}, machine(gpus=2))
    assert starts(verdicts) == ["job-3"]
    assert plan(jobs, [], [], {"batch": 4}, machine(gpus=2))[0].blocked_by is None


def test_unsatisfiable_job_does_not_block_others() -> None:
    for need in (Need(gpus=2), Need(0, memory=65 * GB), Need(0, cpus=9), Need(gpus=1, gpu_memory=81 * GB)):
        assert starts(plan([job(1, need), job(2)], [], [], {"batch": 1}, machine(gpus=1))) == ["job-2"]


def test_requested_memory_and_processors_are_counted() -> None:
    live = [running("x", Need(0, cpus=6, memory=40 * GB))]
    jobs = [job(1, Need(0, memory=30 * GB)), job(2, Need(0, cpus=4)), job(3)]
    verdicts = plan(jobs, live, [], {"batch": 9}, machine())
    assert [(verdict.blocked_by, verdict.free) for verdict in verdicts] == [
        (BlockedBy.MEMORY, 24 * GB),
        (BlockedBy.CPUS, 2),
        (None, 0),
    ]


def test_job_blocked_by_disk_lets_others_pass() -> None:
    verdicts = plan(
        [job(1, Need(0, disk=90 * GB)), job(2)], [], [], {"batch": 1}, replace(machine(), disk_free=5)
    )
    assert [verdict.blocked_by for verdict in verdicts] == [BlockedBy.DISK, None]


def serving(number: int, gpus: int = 1) -> tuple[Live, list[Lease]]:
    live = running(f"serve-{number}", Need(gpus=gpus), queue="serving")
    return live, [Lease(device=f"GPU-{number}", job=live.id)]


def test_deployment_is_candidate_only_if_its_unload_suffices() -> None:
    live, held = serving(0)
    arguments: Any = ([job(1, Need(gpus=1))], [live], held, {"batch": 1, "serving": 4}, machine(gpus=1))
    assert preemption_candidates(plan(*arguments), *arguments) == {"serve-0": "job-1"}
    full: Any = (arguments[0], [live, running("x")], *arguments[2:])
    assert preemption_candidates(plan(*full), *full) == {}  # it also waits for a slot


def test_yielded_deployment_preempts_none_and_goes_last() -> None:
    live, held = serving(0)
    back = job(1, Need(gpus=1), kind="serve", queue="serving", retries=1)
    slots = {"batch": 1, "serving": 4}
    assert (
        preemption_candidates(
            plan([back], [live], held, slots, machine(gpus=1)), [back], [live], held, slots, machine(1)
        )
        == {}
    )
    assert starts(plan([back, job(2, Need(gpus=1))], [], [], slots, machine(gpus=1))) == ["job-2"]


def test_cpu_jobs_start_while_deployment_holds_the_device() -> None:
    live, held = serving(0)
    verdicts = plan([job(1, Need(gpus=1)), job(2)], [live], held, {"batch": 1}, machine(gpus=1))
    assert starts(verdicts) == ["job-2"]


# Properties of any queue: a simulation in which every job ends after some turns.

NEEDS = st.builds(
    Need,
    gpus=st.sampled_from([None, 0, 1, 2, 3]),
    gpu_memory=st.sampled_from([0, 0, 20 * GB, 50 * GB, 80 * GB]),
    cpus=st.sampled_from([0, 0, 2, 8]),
    memory=st.sampled_from([0, 0, 10 * GB, 64 * GB]),
    disk=st.sampled_from([0, 0, 50 * GB]),
)


@dataclass(frozen=True)
class Arrival:
    at: int
    lasts: int
    need: Need
    priority: int
    owner: str


ARRIVALS = st.lists(
    st.builds(
        Arrival,
        at=st.integers(0, 8),
        lasts=st.integers(1, 4),
        need=NEEDS,
        priority=st.integers(-1, 1),
        owner=st.sampled_from("abc"),
    ),
    min_size=1,
    max_size=14,
)


@dataclass
class World:
    """Simulates turns of a queue on a machine and checks invariants."""

    machine: Machine
    slots: dict[str, int]
    waiting: list[Waiting] = field(default_factory=list)
    live: dict[str, tuple[Live, int]] = field(default_factory=dict)
    leases: list[Lease] = field(default_factory=list)
    started: list[str] = field(default_factory=list)

    def turn(self, lasts: dict[str, int]) -> list[Verdict]:
        for id in [id for id, (_, left) in self.live.items() if left == 0]:
            del self.live[id]
            self.leases = [lease for lease in self.leases if lease.job != id]
        verdicts = plan(
            self.waiting, [live for live, _ in self.live.values()], self.leases, self.slots, self.machine
        )
        for verdict in verdicts:
            if verdict.blocked_by is None:
                one = verdict.job
                self.live[one.id] = (Live(one.id, 1, one.kind, one.owner, one.queue, one.need), lasts[one.id])
                self.leases += verdict.leases
                self.started.append(one.id)
                assert len(verdict.leases) == self.machine.gpus(one.need)
                assert len({lease.device for lease in verdict.leases}) == len(verdict.leases)
        self.waiting = [one for one in self.waiting if one.id not in self.live]
        self.check()
        self.live = {id: (live, left - 1) for id, (live, left) in self.live.items()}
        return verdicts

    def check(self) -> None:
        needs = [live.need for live, _ in self.live.values()]
        assert sum(need.memory for need in needs) <= self.machine.memory
        assert sum(need.cpus for need in needs) <= self.machine.cpus
        queues = Counter(live.queue for live, _ in self.live.values())
        assert all(queues[name] <= self.slots.get(name, 1) for name in queues)
        for device in self.machine.devices:
            parts = [lease.memory for lease in self.leases if lease.device == device.uuid]
            if None in parts:
                assert len(parts) == 1, "a whole device has one holder"
            assert sum(part or 0 for part in parts) <= device.memory_total


@given(ARRIVALS, st.integers(0, 3), st.integers(1, 4))
@settings(max_examples=400, deadline=None)
def test_every_satisfiable_job_starts_exactly_once(arrivals: list[Arrival], gpus: int, slots: int) -> None:
    world = World(machine(gpus), {"batch": slots})
    jobs = {n: job(n, one.need, priority=one.priority, owner=one.owner) for n, one in enumerate(arrivals, 1)}
    lasts = {jobs[n].id: one.lasts for n, one in enumerate(arrivals, 1)}
    possible = {one.id for one in jobs.values() if not world.machine.impossible(one.need)}
    # Longer than if they ran sequentially.
    for turn in range(9 + 5 * len(arrivals)):
        world.waiting += [jobs[n] for n, one in enumerate(arrivals, 1) if one.at == turn]
        world.turn(lasts)
    assert set(world.started) == possible
    assert len(world.started) == len(possible), "each is started once"


@given(st.lists(st.integers(1, 5), min_size=4, max_size=30), st.integers(2, 3))
@settings(max_examples=200, deadline=None)
def test_small_jobs_do_not_starve_a_large_one(lengths: list[int], gpus: int) -> None:
    world = World(machine(gpus), {"batch": 8})
    large = job(1000, Need(gpus=gpus), rank=3.5)
    lasts = {large.id: 1, **{f"job-{n}": length for n, length in enumerate(lengths, 1)}}
    for n in range(1, 5 * len(lengths) + 2):
        world.waiting += [job(n, Need(gpus=1))] if n <= len(lengths) else []
        world.waiting += [large] if n == 4 else []
        world.turn(lasts)
    before = world.started[: world.started.index(large.id)]
    assert {int(id.removeprefix("job-")) for id in before} <= {1, 2, 3}


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=40),
    st.lists(st.sampled_from("abc"), max_size=6),
    st.integers(1, 12),
)
@settings(max_examples=300, deadline=None)
def test_owners_differ_by_at_most_one_job(waiting: list[str], live: list[str], free: int) -> None:
    jobs = [job(n, owner=owner) for n, owner in enumerate(waiting, 1)]
    now = [running(f"live-{n}", owner=owner) for n, owner in enumerate(live)]
    verdicts = plan(jobs, now, [], {"batch": len(live) + free}, machine())
    had, got = Counter(live), Counter(one.job.owner for one in verdicts if one.blocked_by is None)
    left = {one.job.owner for one in verdicts if one.blocked_by is not None}
    for poor in left:
        for rich in got:
            assert had[rich] + got[rich] <= had[poor] + got[poor] + 1
    assert got.total() == min(free, len(waiting))
