"""A network that does worse than plain interpolation is not used, or only in part."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from zssr.first_estimate import FirstEstimate
from zssr.held_out import never_worse
from zssr.plan import Plan, make_plan
from zssr.resample import fit
from zssr.settings import make

EXAMPLES = Path(__file__).parent.parent / "examples"


class Off(nn.Module):
    """The first estimate, moved by some grey levels."""

    def __init__(self, levels: float) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :3] + self.levels / 255


def plan_and_result(levels: float) -> tuple[Plan, Tensor, Tensor, tuple[str, ...]]:
    plan = make_plan(EXAMPLES / "cat.png", make(scale=2, kernel="bicubic"))
    estimate = FirstEstimate(plan)
    applied = estimate.at(plan.last) + levels / 255
    result, _, notes = never_worse(applied, Off(levels), estimate, plan)
    return plan, applied, result, notes


def test_a_better_network_is_left_as_it_is() -> None:
    _, applied, result, notes = plan_and_result(0)
    assert torch.equal(result, applied)
    assert not notes


def test_a_worse_one_is_mixed_with_the_interpolated_picture_and_said() -> None:
    plan, applied, result, (note,) = plan_and_result(60)
    plain = fit(plan.image.pixels[None], plan.out_size)
    assert (result - plain).abs().mean() < 0.1 * (applied - plain).abs().mean()
    assert "plain interpolation by" in note
