"""What a trained network is worth on pairs of the picture that were not drawn for its training, beside plain
interpolation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zssr.first_estimate import FirstEstimate
from zssr.network import Network
from zssr.plan import Plan
from zssr.prior_selection import self_pairs
from zssr.resample import fit, size_of

MOST_OF_WORSE = 0.9  # of a network's change that is used where it does worse


def never_worse(
    applied: Tensor, network: Network, estimate: FirstEstimate, plan: Plan
) -> tuple[Tensor, float, tuple[str, ...]]:
    """What a network made, (1, C, *plan.out_size), mixed with the interpolated input where that does better on
    pairs of the picture; the share of the network's change in it; and a note that says so."""
    share, network_error, plain_error = _best_share(network, plan)
    if network_error <= plain_error:
        return applied, 1.0, ()
    note = (
        f"on pairs of this picture the network is off by {255 * network_error:.2f} grey levels and plain"
        f" interpolation by {255 * plain_error:.2f}: {100 * share:.0f} % of its change is used"
    )
    plain = fit(estimate.picture, plan.out_size).to(applied.device)
    return torch.lerp(plain, applied, share), share, (note,)


def _best_share(network: Network, plan: Plan) -> tuple[float, float, float]:
    """The share of the network's change that leaves the least square error on pairs of the picture; and the mean
    absolute errors, in [0, 1], of its results and of plain interpolation."""
    estimator = plan.priors.estimator
    gain = power = network_error = plain_error = 0.0
    pairs = self_pairs(plan)
    for pair in pairs:
        seen = pair.example(estimator).network_input.to(plan.device)
        with torch.no_grad(), plan.compute.autocast():
            restored = network(seen).float().to(pair.son.device)
        plain = fit(pair.son, size_of(pair.father))
        change, error = restored - plain, pair.father - plain
        gain += (change * error * pair.weight).mean().item()
        power += (change.square() * pair.weight).mean().item()
        network_error += ((error - change).abs() * pair.weight).mean().item() / len(pairs)
        plain_error += (error.abs() * pair.weight).mean().item() / len(pairs)
    share = gain / max(power, 1e-12)
    return min(max(share, 0.0), MOST_OF_WORSE) if math.isfinite(share) else 0.0, network_error, plain_error
