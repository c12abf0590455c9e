"""The resources that jobs share: GPUs reported by NVML or configured by an administrator, memory and disk."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.device import Device, Lease
from ilab_jupyter.jobs.queue.order import Machine, Need
from ilab_jupyter.jobs.store.rows import Store

if TYPE_CHECKING:
    from ilab_jupyter.jobs.record import Resources

_MAX_DEVICES = 64
_FRESH_SECONDS = 5.0
# Without one of these no driver is loaded, and NVML need not be imported.
_DRIVER = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
# First entries of CUDA_VISIBLE_DEVICES that hide every device.
_NONE = ("", "-1", "NoDevFiles")
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

_lock = threading.Lock()
_cached: tuple[float, tuple[Device, ...]] | None = None


def check_devices(devices: Sequence[Device]) -> str:
    """Return the value of the setting `devices`. InvalidInput for duplicate devices or missing memory."""
    names = [device.uuid for device in devices]
    if len(set(names)) != len(names) or len(names) > _MAX_DEVICES:
        raise InvalidInput(
            f"The setting devices takes at most {_MAX_DEVICES} devices with different UUIDs.",
            "See `nvidia-smi -L`.",
        )
    for device in devices:
        if not (device.uuid.isascii() and device.uuid.isprintable() and 0 < len(device.uuid) <= 128):
            raise InvalidInput(f"{device.uuid[:80]!r} is not the UUID of a device.", "See `nvidia-smi -L`.")
        if "," in device.uuid or device.memory_total <= 0:
            raise InvalidInput(
                f"The device {device.uuid[:80]!r} needs a UUID without comma, and its memory in bytes.",
                "See `nvidia-smi --query-gpu=uuid,memory.total --format=csv`.",
            )
    return json.dumps([asdict(device) for device in devices])


def declared(setting: str) -> tuple[Device, ...] | None:
    """Return the devices of the setting; None if none were configured and NVML is to be used."""
    if not setting:
        return None
    try:
        return tuple(
            Device(
                uuid=str(one["uuid"]), name=str(one.get("name", "")), memory_total=int(one["memory_total"])
            )
            for one in json.loads(setting)
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def devices(setting: str) -> tuple[Device, ...]:
    """Return the GPUs that jobs may use. NVML's answer is cached for a few seconds."""
    global _cached
    if (named := declared(setting)) is not None:
        return named
    with _lock:
        if _cached is None or time.monotonic() - _cached[0] > _FRESH_SECONDS:
            found = _visible(_query_nvml())
            # After a transient driver failure jobs must not start as on a machine without GPUs.
            _cached = (time.monotonic(), found or (_cached[1] if _cached is not None else ()))
        return _cached[1]


def _query_nvml() -> tuple[Device, ...]:
    if os.name == "posix" and not any(path.exists() for path in _DRIVER):
        return ()
    from ilab_jupyter import hardware

    found, _ = hardware.gpus()
    return tuple(Device(uuid=gpu.uuid, name=gpu.name, memory_total=gpu.memory_total) for gpu in found)


def _visible(found: tuple[Device, ...]) -> tuple[Device, ...]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves to this process, by number or UUID, up to the first
    unknown one.

    A value that hides every GPU applies to our own jobs only: every process schedules for all owners, and a
    job started without a lease would share a device with another job. Parts of a device (MIG) cannot be
    leased: if one is named, the result is empty.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return found
    left = []
    for entry in (entry.strip() for entry in chosen.split(",")):
        named = [
            device
            for index, device in enumerate(found)
            if entry == str(index) or (len(entry) > 4 and device.uuid.startswith(entry))
        ]
        if len(named) != 1:
            if entry.startswith("MIG-"):
                return ()
            break
        left += named
    return tuple(dict.fromkeys(left)) or found


def effective_resources(requested: Resources) -> Resources:
    """Return the job's resources, with no GPU if it does not specify any and its submitter hides all GPUs."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    return (
        requested.model_copy(update={"gpus": 0}) if requested.gpus is None and first in _NONE else requested
    )


def visible(mine: Sequence[Lease], spec: Mapping[str, Any], setting: str) -> str | None:
    """Return CUDA_VISIBLE_DEVICES for a job with these leases; None keeps the submitter's value.

    Without a lease a job sees no GPU if it requested none or if an administrator has configured the devices.
    """
    if mine:
        return ",".join(sorted(lease.device for lease in mine))
    none = (spec.get("resources") or {}).get("gpus") == 0 or declared(setting) is not None
    return "" if none else None


def machine(state: Path, gpus: tuple[Device, ...]) -> Machine:
    """Return the total resources of this machine or container."""
    import psutil

    memory = min([int(psutil.virtual_memory().total), *_limits()])
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    disk = shutil.disk_usage(state)
    return Machine(gpus, cpus, memory, disk.total, disk.free)


def check_satisfiable(store: Store, requested: Resources) -> None:
    """Raise InvalidInput if this machine can never provide what a job requests."""
    need = Need.of(requested.model_dump())
    if need == Need():
        return
    gpus = devices(store.setting("devices", "")) if need.gpus or need.gpu_memory else ()
    if why := machine(store.state.path, gpus).impossible(need):
        raise InvalidInput(why, "Request less, or submit it to a machine that has more.")


def _limits() -> list[int]:
    found = []
    for path in _LIMITS:
        try:
            found.append(int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):  # another cgroup version, or `max`
            continue
    return found
