"""Pictures a second of a batch run with 1, 2 and 4 workers of one thread each: python tests/benchmark_batch.py

Start-up of the workers is measured apart, by a run of which every picture is finished already.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image

from zssr.batch import run

PICTURES = 20


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in")
        source.mkdir()
        rng = np.random.default_rng(0)
        for number in range(PICTURES):
            pixels = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
            PIL.Image.fromarray(pixels).save(source / f"{number:02}.png")
        first = None
        for workers in (1, 2, 4):
            config = {
                "scale": 2, "num_epochs": 150, "repair": "none", "workers": workers, "threads": 1,
                "output": f"{folder}/{workers}/", "jobs": [{"image": str(source)}],
            }  # fmt: skip
            seconds = []
            for _ in range(2):
                begin = time.monotonic()
                report = run(config)
                seconds.append(time.monotonic() - begin)
            assert report.count("kept") == PICTURES
            rate = PICTURES / (seconds[0] - seconds[1])
            first = first or rate
            print(f"{workers} workers: {rate:.2f} pictures/s, {rate / first:.2f} times one worker", flush=True)


if __name__ == "__main__":
    main()
