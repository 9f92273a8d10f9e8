"""Restoration of one picture: a pure function of picture, settings and seed."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from zssr import image as images
from zssr.apply import apply, padded_pixels
from zssr.degrade import Blur, Chain, Jpeg, Missing, Mosaic, Noise
from zssr.device import computing, is_out_of_memory, repeatable
from zssr.errors import Cancelled, DeviceError, PictureError, PriorError
from zssr.image import Image
from zssr.judge import HARMLESS, Pair, error_of, own_pairs
from zssr.network import FOLD, Network
from zssr.plan import Plan, Step, begun_plan, make_plan, retrained
from zssr.preview import OnPreview, Preview
from zssr.priors.families import Initial
from zssr.priors.own import ComponentsPrior, RegionPrior
from zssr.pyramid import Pyramid
from zssr.resample import Size, extended, fit, size_of
from zssr.settings import Settings, make
from zssr.train import Report, train
from zssr.version import __version__

# What a budget sets aside for after training.
SAFETY = 1.15  # applying is estimated from training, and a little slower than the arithmetic says
SECONDS_A_PIXEL = 4e-7  # base, projection, agreement and encoding

Source = str | os.PathLike[str] | bytes | Image | PIL.Image.Image | np.ndarray | Tensor


@dataclass(frozen=True)
class Progress:
    """Where a restoration is: stage "train" or "apply" of number `stage_number` of `stages`, done `fraction` of it.

    error: mean absolute error on recent fathers in grey levels of 255; base_error: that of the first estimate on the
    same ones; lr: the learning rate; all 0 in "apply".
    """

    stage: str
    stage_number: int
    stages: int
    fraction: float
    error: float = 0.0
    base_error: float = 0.0
    lr: float = 0.0


# A network's weights by name.
Weights = Mapping[str, np.ndarray]

# Called often; restoration stops with Cancelled when it returns False.
OnStep = Callable[[Progress], bool | None]


@dataclass(frozen=True)
class Agreement:
    """How the result, damaged again, differs from the input, in grey levels of 255.

    rms: root mean square; worst: largest difference; both over all pixels and channels.
    coefficients: where compression came last, the share of the JPEG coefficients that are the same again; else None.
    """

    rms: float
    worst: float
    coefficients: float | None = None


@dataclass(frozen=True)
class Result:
    """A restored picture and what is known about it.

    learned: whether a network made it; if not, it is interpolated or unchanged, and the notes say why.
    weights: of the networks that made it, for `begin` of `restore`.
    spread: (1, H, W), where it was asked for: the standard deviation, in [0, 1] grey values, of the results of flips
    and rotations before they were joined and projected.
    """

    image: Image
    plan: Plan
    settings: Settings
    agreement: Agreement
    reports: tuple[Report, ...]
    seconds: float
    notes: tuple[str, ...]
    learned: bool
    weights: tuple[Weights, ...] = field(default=(), repr=False)
    spread: Tensor | None = field(default=None, repr=False)

    @property
    def words(self) -> str:
        """How well it agrees with the input, for a person."""
        figures = f"{self.agreement.rms:.2f} grey levels (worst {self.agreement.worst:.1f})"
        if any(part.noisy for part in self.plan.steps[-1].degradation.parts):
            words = f"differs from the input by {figures}, mostly the noise taken out"
        else:
            words = f"agrees with the input to {figures}"
        if self.agreement.coefficients is not None:
            share = math.floor(1000 * self.agreement.coefficients) / 10  # 100 only where all are the same
            words += f", {share:.1f} % of the JPEG coefficients are the same again"
        return words

    @property
    def unknown(self) -> str:
        """What the input could not tell, in one sentence."""
        if not self.plan.undoes:
            return "Every pixel is the input's own."
        measured = self.plan.in_size[0] * self.plan.in_size[1]
        made = self.plan.out_size[0] * self.plan.out_size[1]
        lost = " ".join(
            sentence
            for kind, sentence in _LOST.items()
            if any(isinstance(part, kind) for part in self.plan.steps[-1].degradation.parts)
        )
        used = self.plan.priors.used()
        if used:
            names = " and ".join(prior.name for prior in used)
            lost += f" Some detail comes from other pictures, those that {names} learned from, not from this one."
        if measured == made:
            return lost.strip()
        return f"{self._unknown_detail(measured, made)} {lost.strip()}".strip()

    def _unknown_detail(self, measured: int, made: int) -> str:
        if not self.learned:
            return (
                f"The result has {made} pixels and the input {measured}: it is interpolated, nothing was learned, and"
                " detail finer than the input's pixels is missing."
            )
        return (
            f"The result has {made} pixels and the input {measured}: detail finer than the input's pixels is an"
            " estimate learned from the picture's own larger structures, not a measurement."
        )

    def pillow(self) -> PIL.Image.Image:
        """8 bits a channel: L, LA, RGB or RGBA."""
        return self.image.pillow()

    def numpy(self) -> np.ndarray:
        """(H, W) or (H, W, C), uint8 or uint16 as the input, alpha last."""
        return self.image.samples()

    def tensor(self) -> Tensor:
        """(C, H, W) float32 in [0, 1], without alpha."""
        return self.image.pixels

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write it; the format follows the name. Raises OutputError."""
        images.save(self.image, path, None, self.settings.jpeg_quality, self.settings.strip, overwrite)

    def sidecar(self) -> dict[str, Any]:
        """All of this as JSON, to be kept beside the picture."""
        height, width = self.plan.in_size
        return {
            "version": __version__,
            "findings": [finding.to_json() for finding in self.plan.findings],
            "torch": torch.__version__,
            "input_size": [width, height],
            "output_size": [self.image.size[1], self.image.size[0]],
            "settings": self.settings.to_json(),
            "seed": self.settings.seed,
            "device": str(self.plan.device),
            "precision": str(self.plan.precision).removeprefix("torch."),
            "network": {"width": self.plan.width, "depth": self.plan.depth, "kernel_size": self.plan.kernel_size},
            "networks": self.plan.networks,
            "priors": [
                {"name": prior.name, "sha256": prior.sha256, "licence": prior.licence}
                for prior in self.plan.priors.used()
            ],
            "moves": sorted(self.plan.moves),
            "steps": [
                {"size": [step.size[1], step.size[0]], "degradation": step.degradation.to_json()}
                for step in self.plan.steps
            ],
            "training": [_finite(dataclasses.asdict(report)) for report in self.reports],
            "seconds": round(self.seconds, 3),
            "learned": self.learned,
            "agreement": dataclasses.asdict(self.agreement),
            "unknown": self.unknown,
            "notes": list(self.notes),
        }


def _finite(x: Any) -> Any:
    """Without numbers that JSON cannot hold: training may have diverged."""
    if isinstance(x, dict):
        return {key: _finite(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [_finite(value) for value in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


# What each damage took, for a person.
_LOST: dict[type, str] = {
    Jpeg: "Within each step of the compression's tables the result is an estimate.",
    Noise: "Detail weaker than the noise cannot be told from it, and may be missing.",
    Mosaic: "Inside a mosaic only the cells' colours are measured; detail in it is imagined and identifies nobody.",
    Blur: "Detail that the blur took below the rounding error is an estimate.",
    Missing: "What stands in the missing parts is imagined from their surroundings.",
}


def restore(
    source: Source,
    settings: Settings | None = None,
    *,
    on_step: OnStep | None = None,
    started: float | None = None,
    plan: Plan | None = None,
    begin: Sequence[Weights] | None = None,
    on_preview: OnPreview | None = None,
    spread: bool = False,
    **keywords: Any,
) -> Result:
    """Repair and enlarge one picture by learning from it alone.

    source: a path, the bytes of a file, an Image, a Pillow image, an array (H, W[, C]) of uint8 or
    uint16, or a tensor (C, H, W) float in [0, 1].
    settings: all settings at once; or give them as keywords: restore("a.jpg", scale=4).
    on_step: called often with a Progress; return False to cancel.
    started: time.monotonic() from which a budget counts, if that was before this call.
    plan: what make_plan(source, settings) gave, where the caller has it already.
    begin: a result's weights, of a picture like this one: training begins with them and takes a quarter of the steps.
    on_preview: called about once a second of training with the middle of the result as it is then; see zssr.preview.
    spread: whether the result is to hold its spread.
    Raises the errors in zssr.errors; PictureError and SettingsError before any work is done.
    """
    started = time.monotonic() if started is None else started
    if settings is not None and keywords:
        raise TypeError("give either settings or keywords, not both")
    if settings is None:
        settings = make(**keywords)
        settings.for_one_picture()
    with torch.inference_mode(False):  # what is made in it cannot be learned from
        image = _to_image(source, settings)
    plan = plan or make_plan(image, settings)
    try:
        with repeatable(plan.device):
            return _Run(image, plan, settings, on_step, started, begin or (), on_preview, spread).result()
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"{plan.device}: the memory does not suffice for a result of {plan.out_size[1]}x{plan.out_size[0]};"
            " choose a smaller scale or another --device"
        ) from None


class _Run:
    """One restoration in progress; lives for one call of `restore`."""

    def __init__(
        self, image: Image, plan: Plan, settings: Settings, on_step: OnStep | None, started: float,
        begin: Sequence[Weights], on_preview: OnPreview | None, spread: bool,
    ) -> None:  # fmt: skip
        self.begin, self.on_preview, self.wants_spread = begin, on_preview, spread
        self.spread: Tensor | None = None
        self.weights: tuple[Weights, ...] = ()
        self.input, self.plan, self.settings, self.on_step, self.started = image, plan, settings, on_step, started
        self.image = plan.image
        self.picture = images.fill_hidden(self.image)[None].to(plan.storage)
        self.notes = [*image.notes, *plan.notes]
        self.reports: list[Report] = []
        self.step_number = self.stage_number = 0
        self.learned = False

    @functools.cached_property
    def _own_pairs(self) -> list[Pair]:
        return own_pairs(
            self.picture.to(self.plan.sampling), self.plan.steps[-1].degradation, self._known, self.image.peak
        )

    @property
    def _known(self) -> Tensor | None:
        return None if self.plan.known is None else self.plan.known.float().to(self.plan.sampling)

    def _judge_first_estimate(self) -> None:
        """Fall back to the analytic one where the prior's does worse on the picture's own pairs; with a JPEG prior in
        colour, for chroma alone first, if that does better."""
        prior = self.plan.priors.components or self.plan.priors.picture
        if prior is None:
            return

        def error(change: Callable[[Chain], Chain]) -> float:
            return error_of(self._own_pairs, lambda degradation, son, size: change(degradation).base(son, size))

        name, with_prior, without = prior.name, error(lambda degradation: degradation), error(_without_prior)
        if with_prior > without and self.plan.priors.components is not None and self.plan.channels > 1:
            for_luma = error(_for_luma)
            if for_luma < with_prior:
                name, with_prior = f"{name} on luma alone", for_luma
                self._change(_for_luma)
        if not self._is_worth_it(name, with_prior, without):
            self._change(_without_prior)
            priors = dataclasses.replace(self.plan.priors, components=None, picture=None)
            self.plan = dataclasses.replace(self.plan, priors=priors)

    def _change(self, change: Callable[[Chain], Chain]) -> None:
        """The first estimate of all degradations."""
        steps = tuple(dataclasses.replace(step, degradation=change(step.degradation)) for step in self.plan.steps)
        self.plan = dataclasses.replace(self.plan, steps=steps)
        self._own_pairs = [dataclasses.replace(pair, degradation=change(pair.degradation)) for pair in self._own_pairs]

    def _is_worth_it(self, name: str, with_prior: float, without: float) -> bool:
        """And says so. Raises PriorError where it is not and only a better one is wanted."""
        error = "no numbers" if math.isnan(with_prior) else f"{with_prior * 255:.2f} grey levels of error"
        words = f"prior {name}: {error} on pairs of this picture, {without * 255:.2f} without it"
        better, worth = with_prior <= without, with_prior <= without + HARMLESS
        if not better and self.settings.prior_strict:
            raise PriorError(f"{words}; leave --prior-strict out to go on")
        self.notes.append(f"{words}: {'used' if better else 'used, though no better' if worth else 'not used'}")
        return worth

    def _begun(self, network: Network, number: int) -> bool:
        """Whether the network has the weights of a picture like this one; there is less to learn then."""
        if number >= len(self.begin):
            return False
        weights = {name: torch.tensor(value) for name, value in self.begin[number].items()}
        own = network.state_dict()
        if {name: value.shape for name, value in weights.items()} != {n: v.shape for n, v in own.items()}:
            self.notes.append("the weights to begin with are of another kind of network: trained in full")
            self.begin = ()
            return False
        network.load_state_dict(weights)
        if number == 0:
            self.plan = begun_plan(self.plan, self.settings)
        return True

    def _begin(self, network: Network) -> None:
        """Give a network the prior's weights, if with them it does better than the first estimate alone."""
        prior, degradation = self.plan.priors.initial, self.plan.steps[-1].degradation
        if prior is None:
            return
        begun = copy.deepcopy(network)
        assert isinstance(prior.network, Initial)
        prior.network.begin(begun, float(1 / min(degradation.scale)))

        def estimate(degradation: Chain, son: Tensor, size: Size) -> Tensor:
            told = torch.cat([degradation.base(son, size), degradation.hints(son, size)], 1)
            with torch.no_grad(), computing(self.plan.device, self.plan.precision):
                return begun(told.to(self.plan.device)).float().to(son.device)

        with_prior = error_of(self._own_pairs, estimate)
        without = error_of(self._own_pairs, lambda degradation, son, size: degradation.base(son, size))
        if self._is_worth_it(prior.name, with_prior, without):
            network.load_state_dict(begun.state_dict())
        else:
            priors = dataclasses.replace(self.plan.priors, initial=None)
            self.plan = retrained(dataclasses.replace(self.plan, priors=priors), self.settings, begun=False)

    def result(self) -> Result:
        self._judge_first_estimate()
        pixels, alpha = self.image.pixels, self.input.alpha
        if self.plan.undoes:
            pixels = self._restored()[0].cpu()
        if self.plan.cut is not None:
            agreement = self._agreement(pixels)  # before cells that reach out of the picture are cut
            top, left, height, width = self.plan.cut
            pixels = self._weakened(pixels[:, top : top + height, left : left + width])
            if self.spread is not None:
                self.spread = self.spread[:, top : top + height, left : left + width]
        else:
            pixels = self._weakened(pixels)
            agreement = self._agreement(pixels)
        if alpha is not None and alpha.shape[-2:] != pixels.shape[-2:]:
            alpha = fit(alpha, (pixels.shape[-2], pixels.shape[-1])).clamp_(0, 1)
        image = dataclasses.replace(self.input, pixels=pixels, alpha=alpha, notes=(), jpeg=None)
        initial = self.plan.priors.initial
        # Weights of a picture like this one (`begin`) may have begun with it themselves.
        if initial is not None and not self.learned:
            self.notes.append(f"prior {initial.name}: not used in the end, as no network made the result")
            priors = dataclasses.replace(self.plan.priors, initial=None)
            self.plan = dataclasses.replace(self.plan, priors=priors)
        seconds = time.monotonic() - self.started
        if self.settings.budget is not None and seconds > 1.2 * self.settings.budget:
            self.notes.append(f"the budget of {self.settings.budget:g} s is too short for this picture")
        return Result(
            image, self.plan, self.settings, agreement, tuple(self.reports), seconds, tuple(self.notes),
            self.learned, self.weights, self.spread if self.learned else None,
        )  # fmt: skip

    def _weakened(self, pixels: Tensor) -> Tensor:
        """Mixed with the input, as the strength asks for."""
        if self.settings.strength == 1:
            return pixels
        plain = self.input.pixels
        if pixels.shape != plain.shape:
            plain = fit(plain, size_of(pixels)).clamp_(0, 1)
        return torch.lerp(plain, pixels, self.settings.strength)

    def _restored(self) -> Tensor:
        """(1, C, *out_size): every step starts from the input itself, with one network carried on."""
        last = self.plan.steps[-1]
        if not self.plan.learns or self._nothing_to_learn(last.degradation):
            return self._plain(last)
        networks: list[Network] = []
        rngs: list[torch.Generator] = []
        for number in range(self.plan.networks):
            rng = torch.Generator().manual_seed(self.settings.seed + number)
            network = Network(
                self.plan.network_channels, self.plan.width, self.plan.depth, self.plan.kernel_size, rng,
                self._hint_channels(last.degradation),
            )  # fmt: skip
            network = network.to(self.plan.device).to(memory_format=torch.channels_last)
            if not self._begun(network, number):
                self._begin(network)
            networks.append(network)
            rngs.append(rng)
        pyramid: Pyramid | None = self._pyramid(last.degradation)
        for number, step in enumerate(self.plan.steps):
            self.step_number = number
            for network, rng in zip(networks, rngs, strict=True):
                assert pyramid is not None
                self._train(network, pyramid, step, rng)
            if self._diverged():
                break
            if step is last:
                pyramid = None  # its memory is needed for the result
            result = self._applied(networks, step)
            if pyramid is not None:
                pyramid.add(result.to(self.plan.sampling))
        else:
            self.learned = True
            self.weights = tuple(
                {name: value.cpu().contiguous().numpy() for name, value in network.state_dict().items()}
                for network in networks
            )
            return result
        return self._plain(last)

    def _hint_channels(self, degradation: Chain) -> int:
        """Counted on a small crop, as the hints of a whole picture take long."""
        size = (16, 16)
        drawn = degradation.drawn(size, torch.Generator().manual_seed(0))
        return drawn.hints(self.picture.new_zeros(1, self.picture.shape[1], *drawn.out_size(size)), size).shape[1]

    @functools.cached_property
    def _repaired(self) -> Tensor:
        """The first estimate of the picture at its own size; the picture itself where only its size is to change."""
        damage = self.plan.steps[-1].degradation.split()[1]
        if self.settings.ensemble and self.settings.budget is None:  # eight times the work
            if self.plan.priors.components is not None:
                damage = _with_prior(damage, self.plan.priors.components.ensembled())
            if isinstance(damage.prior, RegionPrior):
                damage = dataclasses.replace(damage, prior=damage.prior.ensembled())
        return damage.base(self.picture, self.plan.in_size)

    def _base(self, step: Step) -> Tensor:
        if step.degradation.prior is None or step.size == self.plan.in_size:
            return step.degradation.split()[0].base(self._repaired, step.size)
        return step.degradation.base(self.picture, step.size)

    def _pyramid(self, degradation: Chain) -> Pyramid:
        picture = self._repaired.clamp(0, 1).to(self.plan.sampling)
        return Pyramid(picture, degradation.split()[1].fair_at, self._known)

    def _plain(self, step: Step) -> Tensor:
        return self._projected(self._base(step).clamp(0, 1), step)

    def _diverged(self) -> bool:
        """Whether a network does worse than the base it was to improve, as with far too high a learning rate."""
        diverged = not all(report.error < 1.5 * report.base_error for report in self.reports)  # NaN is caught too
        if diverged:
            self.notes.append(
                "training did not come near the first estimate, which was used instead: give it more steps"
                " (--num-epochs, --budget) or a lower --lr"
            )
        return diverged

    def _nothing_to_learn(self, degradation: Chain) -> bool:
        """Whether the base already gives the picture back: it is flat, and a network could only add errors."""
        if degradation.noisy:
            return False
        rng = torch.Generator().manual_seed(self.settings.seed)
        drawn = degradation.drawn(self.plan.in_size, rng)
        son = drawn.degrade(self.picture, rng)
        base = drawn.base(son, self.plan.in_size)
        flat = bool((base - self.picture).abs().max() < 0.25 / self.image.peak)
        if flat:
            self.notes.append("the picture has no detail to learn from: a plain first estimate")
        return flat

    def _train(self, network: Network, pyramid: Pyramid, step: Step, rng: torch.Generator) -> None:
        begin = time.monotonic()
        # This training's share of all that is still to be trained.
        position = len(self.reports)
        planned = [s.training_steps for s in self.plan.steps for _ in range(self.plan.networks)][position:]
        share = planned[0] / sum(planned)

        def seconds_left(step_seconds: float) -> float:
            assert self.settings.budget is not None
            deadline = self.started + self.settings.budget
            reserve = self._seconds_to_apply(step_seconds, self._moves(step_seconds))
            return share * (deadline - begin - reserve) - (time.monotonic() - begin)

        preview: Preview | None = None
        if self.on_preview is not None:
            base, hints, _ = self._seen(step)
            preview = Preview(base, hints, self.on_preview, self.plan.device, self.plan.precision)
            del base, hints

        def on_step(fraction: float, error: float, base_error: float, lr: float) -> None:
            self._tell("train", fraction, error * 255, base_error * 255, lr)
            if preview is not None:
                preview.update(network)

        training = dataclasses.replace(self.plan.training, steps=step.training_steps)
        report = train(
            network, pyramid, step.degradation, training, rng, self.image.peak, self.plan.device, self.plan.precision,
            on_step,
            None if self.settings.budget is None else seconds_left,
        )  # fmt: skip
        self.reports.append(report)
        self.stage_number += 1

    def _seen(self, step: Step) -> tuple[Tensor, Tensor, Tensor | None]:
        """Base, hints, and the pixels that are to be restored, from where the damage's grid begins."""
        base = self._base(step)
        hints = step.degradation.hints(self.picture, step.size)
        wanted = step.degradation.damaged(step.size)
        lead = step.degradation.lead
        if lead != (0, 0):
            rows, columns = (lead[0], 0), (lead[1], 0)
            base, hints = (extended(x, rows, columns) for x in (base, hints))
            wanted = None if wanted is None else extended(wanted, rows, columns)
        return base, hints, wanted

    def _applied(self, networks: list[Network], step: Step) -> Tensor:
        base, hints, wanted = self._seen(step)
        lead = step.degradation.lead
        last = self.reports[-1]
        moves = self._moves(last.seconds / max(last.steps, 1))
        if moves != self.plan.moves and step is self.plan.steps[-1]:
            self.notes.append("the budget left no time for the self-ensemble")
        spread = torch.zeros_like(base[:, :1]) if self.wants_spread and len(moves) > 1 else None
        total: Tensor | None = None
        for number, network in enumerate(networks):
            result = apply(
                network, base, self.plan.tile, moves, self.plan.device, self.plan.precision,
                lambda done, tiles: self._tell("apply", (number + done / tiles) / len(networks)),  # noqa: B023
                hints, wanted, spread,
            )  # fmt: skip
            total = result if total is None else total.add_(result)
        assert total is not None
        total = total[..., lead[0] :, lead[1] :]
        if self.plan.out_size == self.plan.in_size and wanted is not None:  # to the bit, projected or not
            total = torch.where(wanted[..., lead[0] :, lead[1] :].to(total.device), total, self.picture)
        self.spread = None
        if spread is not None:
            if wanted is not None:  # elsewhere the input's own pixels are kept
                spread.mul_(wanted.to(spread))
            self.spread = spread[0, :, lead[0] :, lead[1] :].cpu()
        del base, hints, result
        self.stage_number += 1
        return self._projected(total.div_(len(networks)) if len(networks) > 1 else total, step)

    def _projected(self, result: Tensor, step: Step) -> Tensor:
        return step.degradation.project(result, self.picture) if self.plan.projects else result

    def _agreement(self, pixels: Tensor) -> Agreement:
        if not self.plan.undoes:
            return Agreement(0.0, 0.0)
        # Without the noise: it is no part of what a result can agree with.
        expected = Chain(tuple(part for part in self.plan.steps[-1].degradation.parts if not part.noisy))
        rng = torch.Generator().manual_seed(self.settings.seed)
        squares, worst = 0.0, 0.0
        alpha = self.image.alpha
        visible = torch.ones(1, 1, 1) if alpha is None or not alpha.any() else (alpha > 0).float()
        peak = self.image.peak
        # Channel by channel, which needs less memory, unless the damage mixes them.
        together = any(isinstance(part, Jpeg) for part in expected.parts)
        groups = [pixels] if together else list(pixels.split(1))
        for group, target in zip(groups, self.picture[0].cpu().split(len(groups[0])), strict=True):
            # As it will be saved: rounded.
            saved = group.mul(peak).round_().div_(peak)
            again = expected.degrade(saved[None], rng)[0]
            if expected.parts and isinstance(expected.parts[-1], Missing):  # nothing was measured there
                target = expected.parts[-1].project(again[None], target[None])[0]
            difference = (again - target).mul_(255).mul_(visible)
            squares += difference.square().mean().item() / visible.mean().item() / len(groups)
            worst = max(worst, difference.abs().max().item())
        last = expected.parts[-1] if expected.parts else None
        share = None
        if isinstance(last, Jpeg):
            before = Chain(expected.parts[:-1]).degrade(pixels.mul(peak).round_().div_(peak)[None], rng)
            share = last.same_coefficients(before, self.picture.cpu())
        return Agreement(round(math.sqrt(squares), 4), round(worst, 4), share)

    def _moves(self, step_seconds: float) -> frozenset[int]:
        """The self-ensemble that the budget has time for: all of it in at most half of the budget, or none."""
        budget = self.settings.budget
        if budget is None or self._seconds_to_apply(step_seconds, self.plan.moves) <= budget / 2:
            return self.plan.moves
        return frozenset({0})

    def _seconds_to_apply(self, step_seconds: float, moves: frozenset[int]) -> float:
        """For this and all later steps. A training step is a forward and a backward pass, three times a forward."""
        training = self.plan.training
        side = min(training.crop_size, min(self.plan.in_size))
        reach = self.plan.depth * (self.plan.kernel_size // 2) * FOLD
        to_come = self.plan.steps[self.step_number :]
        pixels = sum(
            padded_pixels(later.size, self.plan.tile, reach, later.degradation.damaged(later.size)) for later in to_come
        )
        forward = pixels * len(moves) * self.plan.networks / (3 * training.batch_size * side**2)
        return SAFETY * step_seconds * forward + SECONDS_A_PIXEL * pixels

    def _tell(
        self, stage: str, fraction: float, error: float = 0.0, base_error: float = 0.0, lr: float = 0.0
    ) -> None:  # fmt: skip
        if self.on_step is None:
            return
        stages = len(self.plan.steps) * (self.plan.networks + 1)
        if self.on_step(Progress(stage, self.stage_number, stages, fraction, error, base_error, lr)) is False:
            raise Cancelled("cancelled")


def _without_prior(chain: Chain) -> Chain:
    return _with_prior(dataclasses.replace(chain, prior=None), None)


def _for_luma(chain: Chain) -> Chain:
    """With the prior for luma alone, where there is chroma."""
    return _with_jpeg(chain, prior_for_chroma=False)


def _with_prior(chain: Chain, prior: ComponentsPrior | None) -> Chain:
    """With another first estimate of JPEG components, or the analytic one."""
    return _with_jpeg(chain, prior=prior)


def _with_jpeg(chain: Chain, **changes: Any) -> Chain:
    parts = (dataclasses.replace(part, **changes) if isinstance(part, Jpeg) else part for part in chain.parts)
    return dataclasses.replace(chain, parts=tuple(parts))


def _to_image(source: Source, settings: Settings) -> Image:
    if isinstance(source, Image):
        planes = source.pixels if source.alpha is None else torch.cat([source.pixels, source.alpha])
        if len(source.pixels) not in (1, 3) or planes.ndim != 3 or 0 in planes.shape:
            raise PictureError(f"Image with pixels of shape {tuple(source.pixels.shape)}: expected (1 or 3, H, W)")
        alpha = None if source.alpha is None else source.alpha.detach().float().cpu().clone()
        return dataclasses.replace(source, pixels=source.pixels.detach().float().cpu().clone(), alpha=alpha)
    if isinstance(source, str | os.PathLike | bytes):
        return images.load(source, settings.max_MB, settings.max_pixels)
    if isinstance(source, PIL.Image.Image):
        return images.from_pillow(source)
    if isinstance(source, np.ndarray):
        return images.from_array(source)
    if isinstance(source, Tensor):
        if source.ndim != 3 or len(source) not in (1, 3) or not source.is_floating_point() or 0 in source.shape:
            raise PictureError(
                f"tensor of {source.dtype} with shape {tuple(source.shape)}: expected (1 or 3, H, W), float in [0, 1]"
            )
        if not bool(torch.isfinite(source).all()) or source.min() < 0 or source.max() > 1:
            raise PictureError("tensor with values outside [0, 1]: divide by the peak value first")
        return Image(source.detach().float().cpu().clone())
    raise PictureError(f"cannot restore a {type(source).__name__}: give a path, bytes, a Pillow image, array or tensor")
