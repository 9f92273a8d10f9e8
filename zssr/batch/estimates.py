"""How much a job takes, before its picture is read."""

from __future__ import annotations

import os

import torch

from zssr.errors import ZssrError
from zssr.files.apart import BrokenFileError, read_apart
from zssr.jobs import Job
from zssr.resources import BYTES_OF_RUNTIME, estimate_from_sizes, pixels_of_a_step
from zssr.restoration import restore
from zssr.settings import Settings
from zssr.targets import is_remote


def estimate(job: Job) -> tuple[float, int]:
    """(cost, memory): pixels through the network, about, which is what a job takes beside others, and bytes at the
    peak. Cost is 0 for a picture that cannot be read."""
    size, out_size = _sizes(job)
    if out_size is None:
        return 0.0, BYTES_OF_RUNTIME
    assert size is not None
    return estimate_from_sizes(job.settings, size, out_size)


def _sizes(job: Job) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """(height, width) of source and result, from the file's header alone."""
    if is_remote(job.source):
        return None, None
    try:
        height, width = read_apart("size", os.path.abspath(job.source))["size"]
        return (height, width), job.settings.out_size((height, width))
    except (BrokenFileError, ZssrError):
        return None, None


def seconds_a_unit() -> float:
    """Seconds for a unit of cost (see `estimate`) on this machine: a moment of training, measured."""
    noise = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
    for steps in (5, 30):  # the first run warms up
        report = restore(noise, Settings(num_epochs=steps, scale=2, ensemble=False)).reports[0]
    return report.seconds / (report.steps * pixels_of_a_step(96, 1))
