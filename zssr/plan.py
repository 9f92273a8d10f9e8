"""Everything that is decided, and refused, before work starts."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import psutil
import torch
from torch import Tensor

from zssr.apply import padded_pixels
from zssr.damage import Damage, collapsed, damage_of, known
from zssr.degrade import Blur, Chain, Degradation, Downscale, Jpeg, Mosaic, Noise
from zssr.degrade.downscale import read_kernel
from zssr.degrade.jpeg import nearest_quality
from zssr.device import choose_device, choose_precision
from zssr.diagnose import Finding
from zssr.errors import DeviceError, PriorError, SettingsError
from zssr.image import Image
from zssr.network import Network, forward_flops
from zssr.priors import Foreign, Priors, load_priors
from zssr.priors.families import Initial
from zssr.priors.own import RegionPrior
from zssr.pyramid import LARGEST_SIDE
from zssr.resample import Size, ratio
from zssr.settings import LARGEST_FACTOR, Settings
from zssr.train import Training

# Smaller pictures hold too few examples to learn from; they are interpolated, with a warning.
SMALLEST_SIDE = 16
SMALLEST_KNOWN = 0.05  # share of the picture that local damages have to leave
DEFAULT_TILE = 512
DEFAULTS = {"crop_size": 96, "lr_decay_range": 300, "lr": 2e-3}
# Cells are coarse: what helps lies further away, and what can be learned is a few percent of the error, less than it
# varies from crop to crop, so that a short line stops training too early.
MOSAIC = {"crop_size": 128, "lr_decay_range": 1000}
# Initial weights are nearly right: few large steps would lose more than they bring. Chosen on photographs at 10, 60,
# 500 and 2400 steps.
BEGUN_LR, BEGUN_LR_A_ROOT = 1e-3, 6e-5  # at most, and for each root of a step
# Pictures of at most so many pixels gain from results as further fathers; larger ones hold examples enough.
FEW_EXAMPLES = 512 * 512
BYTES_A_RESULT = 2.4 * 4  # for each pixel and channel of the result: itself, its base, and a part of a third
BYTES_OF_REGION = 20 * 4  # for each pixel of what a network for damaged parts is told and gives, where all is damaged
BYTES_OF_RUNTIME = 500_000_000  # Python and torch, before any picture
# Gradual enlarging: 1.5, 2, 3, 4, 6, 8, ... are passed on the way to larger factors (ZSSR, section 3.3),
# unless the target is so near that the last step would be shorter than this.
SMALLEST_STEP = 1.15


@dataclass(frozen=True)
class Effort:
    """What a quality means: training steps at the first factor, at each further one, and for repair at the picture's
    own size; layers, networks.

    halves: whether a factor that needs one step only is trained in two halves, the first result joining the fathers.
    """

    steps: int
    further_steps: int
    repair_steps: int
    depth: int
    networks: int
    halves: bool


EFFORTS = {
    "fast": Effort(steps=500, further_steps=250, repair_steps=300, depth=8, networks=1, halves=False),
    "default": Effort(steps=2400, further_steps=1200, repair_steps=1500, depth=8, networks=1, halves=True),
    "best": Effort(steps=6000, further_steps=3000, repair_steps=5000, depth=12, networks=1, halves=True),
}


@dataclass(frozen=True)
class Step:
    """One enlargement of the input: to `size`, learned from pairs made by `degradation`."""

    size: Size
    degradation: Chain
    training_steps: int


@dataclass(frozen=True)
class Plan:
    """What will be done to one picture. notes say in words what is not done, and why.

    image: the picture that is worked on: the input, or one pixel for each cell of a mosaic that covers it all.
    cut: (top, left, height, width) of the result that is kept, where cells reach out of the picture.
    known: (1, 1, *in_size) bool, pixels outside all local damages; None where there is none.
    priors: networks of other pictures that are used; those for damage that there is not are left out.
    """

    image: Image
    findings: tuple[Finding, ...]
    known: Tensor | None
    cut: tuple[int, int, int, int] | None
    priors: Priors
    in_size: Size
    out_size: Size
    channels: int
    steps: tuple[Step, ...]
    learns: bool
    training: Training
    width: int
    depth: int
    kernel_size: int
    network_channels: int
    networks: int
    moves: frozenset[int]
    projects: bool
    tile: int
    device: torch.device
    sampling: torch.device
    storage: torch.device
    precision: torch.dtype
    memory: int
    flops: float
    notes: tuple[str, ...]

    @property
    def undoes(self) -> bool:
        """Whether there is anything to be done at all."""
        return bool(self.steps[-1].degradation.parts)

    def _damage(self) -> str:
        """What the sons suffer, in words."""
        words = []
        for part in self.steps[-1].degradation.parts:
            if isinstance(part, Downscale):
                kernel = part.kernel if isinstance(part.kernel, str) else "given"
                vertical, horizontal = (float(1 / factor) for factor in part.scale)
                words.append(f"downscaling by {vertical:.4g} (vertical) and {horizontal:.4g}, {kernel} kernel")
            else:
                words.append(in_words(part))
        return ", then ".join(words)

    def describe(self) -> str:
        """Several lines for a person."""
        height, width = self.image.size
        sizes = " -> ".join(f"{w}x{h}" for h, w in [self.in_size, *(step.size for step in self.steps)])
        lines = [f"picture    {width}x{height}, {'grey' if self.channels == 1 else 'colour'}", f"result     {sizes}"]
        if self.learns:
            training_steps = ", ".join(str(step.training_steps) for step in self.steps)
            lines += [
                f"undoes     {self._damage()}",
                f"network    {self.depth} layers, {self.width} wide, {self.kernel_size}x{self.kernel_size}"
                + (f", {self.networks} of them" if self.networks > 1 else ""),
                f"training   at most {training_steps} steps of {self.training.batch_size} crops of"
                f" {self.training.crop_size}x{self.training.crop_size}",
                f"applied    in tiles of {self.tile}, {len(self.moves)} flips and rotations"
                + (", projected on the input" if self.projects else ""),
                f"compute    about {self.flops / 1e12:.1f} TFLOP on {self.device}"
                f" in {'bf16' if self.precision == torch.bfloat16 else 'fp32'}",
            ]
        lines.append(f"memory     about {self.memory / 1e6:.0f} MB")
        lines += [f"note       {note}" for note in self.notes]
        return "\n".join(lines)


def in_words(part: Degradation) -> str:
    """A damage at the picture's own size, for a person."""
    if isinstance(part, Jpeg):
        return f"JPEG compression of quality about {nearest_quality(part.tables[0])}, {part.sampling}"
    if isinstance(part, Noise):
        return f"noise of {part.sigma:g} grey levels" + (", growing with brightness" if part.slope else "")
    region = getattr(part, "region", None)
    share = "" if region is None else f" on {100 * region.pixels.float().mean().item():.3g} % of the picture"
    if isinstance(part, Mosaic):
        return f"a mosaic of {part.cell[1]}x{part.cell[0]} cells{share}"
    if isinstance(part, Blur):
        return f"blur ({part.kernel if isinstance(part.kernel, str) else 'given kernel'}){share}"
    return f"missing parts{share}"


def make_plan(image: Image, settings: Settings) -> Plan:
    """Decide everything for one picture; this looks for damage, which takes a second or more.

    Raises SettingsError, KernelError, PriorError or DeviceError for what cannot be done.
    """
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    effort = EFFORTS[settings.quality]
    channels = len(image.pixels)
    out_size = settings.out_size(image.size)
    notes: list[str] = []
    kernel = read_kernel(settings.kernel)
    # The result alone, before any work on a large picture.
    _check_memory(out_size, int(BYTES_OF_RUNTIME + BYTES_A_RESULT * channels * math.prod(out_size)))
    damage = damage_of(image, settings, out_size != image.size)
    notes += damage.notes
    priors = load_priors(settings.prior, precision, settings.passes)
    unfit: list[str] = []
    priors = _fitting(priors, damage, out_size != image.size, unfit)
    if unfit and settings.prior_strict:
        raise PriorError(f"{unfit[0]}; leave --prior-strict out to go on without")
    notes += unfit
    damage = _with_prior(damage, priors)
    cut = None
    if damage.whole_mosaic is not None:
        mosaic = damage.whole_mosaic
        image, whole = collapsed(image, mosaic), image.size
        factors = [Fraction(new, old) for new, old in zip(out_size, whole, strict=True)]
        corner = [int(margin * factor) for margin, factor in zip(mosaic.lead, factors, strict=True)]
        cut = (corner[0], corner[1], *out_size)
        out_size = tuple(  # type: ignore[assignment]
            math.ceil(count * side * factor)
            for count, side, factor in zip(image.size, mosaic.cell, factors, strict=True)
        )
        kernel = "box"
        if max(out_size[0] / image.size[0], out_size[1] / image.size[1]) > LARGEST_FACTOR:
            raise SettingsError(f"the mosaic's cells and the scale together are a factor over {LARGEST_FACTOR}")
    learns = out_size != image.size or bool(damage.parts)
    local = known(damage.parts, image.size)
    if not learns:
        looked = "asked for" if settings.repair == "none" else "found"
        notes.append(f"nothing to repair or enlarge was {looked}: the picture is kept as it is")
    elif settings.num_epochs == 0:
        learns = False
        notes.append("no training was asked for: a plain first estimate")
    elif min(image.size) < SMALLEST_SIDE:
        learns = False
        notes.append(f"smaller than {SMALLEST_SIDE} pixels, too small to learn from: a plain first estimate")
    elif local is not None and local.float().mean() < SMALLEST_KNOWN:
        learns = False
        notes.append("too little of the picture is undamaged to learn from: a plain first estimate")
    sizes = _sizes(image.size, out_size) if learns else [out_size]
    training_steps = settings.num_epochs or (effort.steps if out_size != image.size else effort.repair_steps)
    further_steps = effort.further_steps if settings.num_epochs is None else max(1, settings.num_epochs // 2)
    few_examples = math.prod(image.size) <= FEW_EXAMPLES
    if (
        learns
        and out_size != image.size
        and len(sizes) == 1
        and effort.halves
        and few_examples
        and training_steps > 1
        and not settings.budget
    ):
        # The result of the first half joins the fathers of the second: larger ones, at the result's own scale.
        sizes = [out_size, out_size]
        further_steps = training_steps // 2
        training_steps -= further_steps
    final = _chain(image.size, out_size, kernel, damage.parts, priors.picture)
    steps = tuple(
        Step(
            size,
            _chain(image.size, size, kernel, damage.parts, priors.picture, final),
            training_steps if number == 0 else further_steps,
        )
        for number, size in enumerate(sizes)
    )
    depth = settings.model_depth or effort.depth
    network_channels = min(settings.in_channels, channels)
    moves = final.symmetries if settings.ensemble else frozenset({0})
    has_mosaic = any(isinstance(part, Mosaic) for part in damage.parts)
    training = training_of(settings, training_steps, has_mosaic, priors.initial is not None)
    tile = min(settings.patch_size or DEFAULT_TILE, 2 * math.ceil(max(out_size) / 2))
    groups = channels // network_channels
    per_pixel = groups * forward_flops(network_channels, settings.model_width, depth, settings.model_kernel_size, 1)
    trained = sum(3 * step.training_steps * training.batch_size * training.crop_size**2 for step in steps)
    applied = sum(len(moves) * padded_pixels(step.size, tile, 0, step.degradation.damaged(step.size)) for step in steps)
    plan = Plan(
        image, damage.findings, local, cut, priors,
        image.size, out_size, channels, steps, learns, training, settings.model_width, depth,
        settings.model_kernel_size, network_channels, effort.networks, moves,
        settings.projection and not final.noisy, tile, device, _sampling(device),
        _storage(device, channels, out_size), precision,
        _memory(image, steps, tile, settings.model_width, len(moves), precision)
        + isinstance(priors.picture, RegionPrior) * BYTES_OF_REGION * math.prod(out_size),
        effort.networks * per_pixel * (trained + applied) if learns else 0.0, tuple(notes),
    )  # fmt: skip
    _check_memory(out_size, plan.memory)
    if priors.initial is not None and learns:  # before hours of work
        assert isinstance(priors.initial.network, Initial)
        network = Network(network_channels, plan.width, depth, plan.kernel_size)
        try:
            priors.initial.network.begin(network, float(1 / min(final.scale)))
        except PriorError as error:
            raise PriorError(f"prior {priors.initial.name}: {error}") from None
    return plan


def begun_plan(plan: Plan, settings: Settings) -> Plan:
    """For networks that begin with the weights of a picture like this one: a quarter of the steps, small ones."""
    steps = tuple(dataclasses.replace(step, training_steps=math.ceil(step.training_steps / 4)) for step in plan.steps)
    return retrained(dataclasses.replace(plan, steps=steps), settings, begun=True)


def retrained(plan: Plan, settings: Settings, begun: bool) -> Plan:
    """With the training of networks that begin with weights, or that do not."""
    has_mosaic = any(isinstance(part, Mosaic) for part in plan.steps[-1].degradation.parts)
    return dataclasses.replace(plan, training=training_of(settings, plan.steps[0].training_steps, has_mosaic, begun))


def _fitting(priors: Priors, damage: Damage, enlarges: bool, notes: list[str]) -> Priors:
    """Those that are for what is to be undone."""
    kinds = {type(part) for part in damage.parts}
    enlarges = enlarges or damage.whole_mosaic is not None
    if priors.components is not None and Jpeg not in kinds:
        notes.append(f"prior {priors.components.name}: repairs JPEG compression, and there is none to undo: not used")
        priors = dataclasses.replace(priors, components=None)
    if isinstance(priors.picture, RegionPrior) and (enlarges or not priors.picture.fits(Chain(damage.parts))):
        why = "at the picture's own size only; repair first, then enlarge" if enlarges else "and for nothing beside it"
        notes.append(
            f"prior {priors.picture.name}: is for one part that is pixelated, blurred or missing, {why}: not used"
        )
        priors = dataclasses.replace(priors, picture=None)
    if priors.initial is not None and not (enlarges or kinds == {Jpeg}):
        notes.append(f"prior {priors.initial.name}: is for enlarging and for JPEG compression alone: not used")
        priors = dataclasses.replace(priors, initial=None)
    return priors


def _with_prior(damage: Damage, priors: Priors) -> Damage:
    """Compression's first estimate left to the prior, where there is one."""
    parts = tuple(
        dataclasses.replace(part, prior=priors.components) if isinstance(part, Jpeg) else part for part in damage.parts
    )
    return dataclasses.replace(damage, parts=parts)


def _check_memory(out_size: Size, needed: int) -> None:
    available = psutil.virtual_memory().available
    if needed - BYTES_OF_RUNTIME > available:
        raise DeviceError(
            f"a result of {out_size[1]}x{out_size[0]} needs about {needed / 1e9:.1f} GB of memory and"
            f" {available / 1e9:.1f} GB are free; choose a smaller scale"
        )


def training_of(settings: Settings, steps: int, has_mosaic: bool = False, begun: bool = False) -> Training:
    """How to train for `steps`; all that is set is as set. begun: from a prior's initial weights."""
    chosen: dict[str, Any] = DEFAULTS | (MOSAIC if has_mosaic else {})
    if begun:
        chosen["lr"] = min(BEGUN_LR, BEGUN_LR_A_ROOT * math.sqrt(steps))
    names = [field.name for field in dataclasses.fields(Training) if field.name != "steps"]
    given = {name: getattr(settings, name) for name in names}
    training = Training(steps, **{name: chosen[name] if value is None else value for name, value in given.items()})
    if training.lr_stop > training.lr:
        whose = " (for weights to begin with and so few steps)" if begun and settings.lr is None else ""
        raise SettingsError(f"lr_stop {training.lr_stop:g}: must not be larger than lr {training.lr:g}{whose}")
    return training


def _sampling(device: torch.device) -> torch.device:
    """Where fathers are sampled: on the device, but for MPS, which has no bicubic grid sampling."""
    return torch.device("cpu") if device.type == "mps" else device


def _storage(device: torch.device, channels: int, out_size: Size) -> torch.device:
    """Where whole pictures lie: on the device if about six of them fit, else in main memory, tiles travelling."""
    if device.type == "cuda" and 6 * channels * out_size[0] * out_size[1] * 4 > torch.cuda.mem_get_info(device)[0]:
        return torch.device("cpu")
    return device


def _sizes(size: Size, out_size: Size) -> list[Size]:
    """The sizes on the way to the result, the result last; both directions grow together."""
    vertical, horizontal = (math.log(new / old) for new, old in zip(out_size, size, strict=True))
    total = math.exp(max(vertical, horizontal))
    way = []
    factor = 1.5
    while factor * SMALLEST_STEP < total and total > 2:
        share = math.log(factor) / math.log(total)
        way.append((round(size[0] * math.exp(share * vertical)), round(size[1] * math.exp(share * horizontal))))
        factor *= 4 / 3 if len(way) % 2 else 1.5
    return [*way, out_size]


def _chain(
    in_size: Size,
    out_size: Size,
    kernel: str | tuple,
    parts: tuple[Degradation, ...],
    prior: RegionPrior | Foreign | None,
    final: Chain | None = None,
) -> Chain:
    """How a picture of out_size became the input; `final` is the damage of the last step, for the earlier ones.

    The exact ratio of the sizes is used rather than the factor asked for, so that both pictures share all
    four borders and a flip commutes with the damage.
    """
    if out_size == in_size:
        return Chain(parts, prior)
    vertical, horizontal = ratio(out_size, in_size)
    scale = (min(vertical, Fraction(1)), min(horizontal, Fraction(1)))
    if final is None:
        downscale = Downscale(scale, kernel)
    else:
        last = final.parts[0]
        assert isinstance(last, Downscale)
        downscale = last if last.scale == scale else last.rescaled(scale)
    return Chain((downscale, *parts), prior)


def _memory(image: Image, steps: tuple[Step, ...], tile: int, width: int, moves: int, precision: torch.dtype) -> int:
    """Bytes at the peak, which is reached with base and result of the last step in memory."""
    in_bytes = image.pixels.numel() * 4
    out_bytes = len(image.pixels) * steps[-1].size[0] * steps[-1].size[1] * 4
    alpha_bytes = 3 * 4 * steps[-1].size[0] * steps[-1].size[1] if image.alpha is not None else 0
    earlier = sum(len(image.pixels) * min(math.prod(step.size), LARGEST_SIDE**2) * 4 for step in steps[:-1])
    pyramid = 2.8 * (in_bytes + earlier)  # a picture and its smaller levels
    side = min(tile, max(steps[-1].size)) + 64
    tiles = side**2 * (width // 4 * 6 * (2 if precision == torch.bfloat16 else 4) + 12 * (2 * moves + 2))
    return int(BYTES_OF_RUNTIME + in_bytes + pyramid + BYTES_A_RESULT / 4 * out_bytes + alpha_bytes + tiles)
