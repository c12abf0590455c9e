"""Administrator settings for every process on a state folder: slots, grace period, devices, retries."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.device import Device
from ilab_jupyter.jobs.queue.leases import check_devices
from ilab_jupyter.jobs.record import NAME
from ilab_jupyter.jobs.store.rows import Store


def configure(
    store: Store,
    *,
    slots: Mapping[str, int] | None = None,
    grace_seconds: float | None = None,
    devices: Sequence[Device] | None = None,
    retries: bool | None = None,
    actor: str | None = None,
) -> None:
    """Store what is not None. InvalidInput for an invalid value; settings after it are not stored."""
    if slots is not None:
        if any(not re.fullmatch(NAME, queue) or not 0 <= count <= 1000 for queue, count in slots.items()):
            raise InvalidInput(
                "Slots must be numbers from 0 to 1000 by queue name.", "For example {'batch': 1}."
            )
        store.put_setting("slots", json.dumps({**store.slots(), **slots}), actor=actor)
    if grace_seconds is not None:
        if not (math.isfinite(grace_seconds) and 0 <= grace_seconds <= 86_400):
            raise InvalidInput("The grace period is 0 to 86400 seconds.")
        store.put_setting("grace_seconds", str(grace_seconds), actor=actor)
    if devices is not None:
        store.put_setting("devices", check_devices(devices), actor=actor)
    if retries is not None:
        store.put_setting("retries", "on" if retries else "off", actor=actor)
