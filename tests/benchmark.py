"""How far the training and the application are from what the machine can do.

python tests/benchmark.py [--device cpu] [--seconds 3]

The floor is the arithmetic of the network over the speed of a large matrix product, measured in the same run in the
same number format. All figures are ratios, as machines differ and are shared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from zssr.apply import Seen, apply
from zssr.damages import Chain, Downscale
from zssr.device import Compute, choose_device, choose_precision
from zssr.dihedral import ALL_EIGHT
from zssr.effort import training_for
from zssr.examples import Analytic, Examples
from zssr.network import Network, forward_flops
from zssr.pyramid import Pyramid
from zssr.resample import ratio
from zssr.settings import Settings
from zssr.train import train


def speed(work: Callable[[], float], seconds: float, device: torch.device) -> float:
    """FLOP/s of `work`, which returns its floating point operations: the best of several runs."""
    work()
    best, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        flops = work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = max(best, flops / (time.perf_counter() - start))
    return best


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", default="auto")
parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
options = parser.parse_args()

device = choose_device(options.device)
picture = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)).to(device)
damage = Chain((Downscale(ratio((2, 2), (1, 1))),))
print(f"{device}, {torch.get_num_threads()} threads")
fast = choose_precision("auto", device) == torch.bfloat16
for name in ["fp32", "bf16"] if fast else ["fp32"]:
    compute = Compute(device, choose_precision(name, device))
    side = 2048
    matrix = torch.rand(side, side, device=device, dtype=compute.precision)

    def multiply(matrix: torch.Tensor = matrix, side: int = side) -> float:
        matrix @ matrix
        return 2.0 * side**3

    network = Network(3).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pyramid = Pyramid(picture)

    def learn(compute: Compute = compute, network: Network = network, pyramid: Pyramid = pyramid) -> float:
        steps, crop = 20, 96
        examples = Examples(pyramid, damage, Analytic(), 255, torch.Generator().manual_seed(0))
        train(network, examples, training_for(Settings(crop_size=crop), steps, {}, False), compute)
        return 3 * steps * forward_flops(3, 64, 8, 3, crop**2)

    def restore(compute: Compute = compute, network: Network = network) -> float:
        apply(network, Seen(picture, picture[:, :0]), 512, ALL_EIGHT, compute)
        return 8 * forward_flops(3, 64, 8, 3, 256**2)

    floor = speed(multiply, options.seconds, device)
    for what, work in (("training", learn), ("applying", restore)):
        reached = speed(work, options.seconds, device)
        print(f"{name} {what}: {reached / floor:.2f} of the matrix product's {floor / 1e9:.0f} GFLOP/s")
