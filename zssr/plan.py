"""Everything that is decided, and refused, before work starts."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from zssr.damages import Chain, Degradation, Downscale, Finding
from zssr.damages.downscale import Kernel, Repeated, find_kernel, read_kernel
from zssr.damages.rules import hides_kernel
from zssr.damages.smaller import Frame
from zssr.device import Compute, choose_device, choose_precision
from zssr.dihedral import IDENTITY
from zssr.drawn import colours_of_drawing
from zssr.effort import EFFORTS, depth_for, steps_for, training_for
from zssr.errors import PriorError, SettingsError
from zssr.image import Image, fill_hidden
from zssr.priors import Priors, fitting_priors
from zssr.repairs import Repairs, repairs_for
from zssr.resample import Size, ratio
from zssr.resources import (
    Stage,
    check_memory,
    flops,
    least_memory,
    peak_memory,
    pixels_of_a_step,
    pixels_to_apply,
    sampling_device,
    storage_device,
)
from zssr.settings import AUTO, LARGEST_FACTOR, Settings
from zssr.source import Source, as_image
from zssr.train import Training
from zssr.weights import NetworkShape, Weights, fits, new_network

# Smaller pictures hold too few examples to learn from; they are interpolated, with a warning.
SMALLEST_SIDE = 16
SMALLEST_UNDAMAGED = 0.05  # share of the picture that local damages have to leave
DEFAULT_TILE = 512
MOST_PIXEL_ART_COLOURS = 16  # smoothed letters and lines have more
# Pictures of at most so many pixels gain from results as further fathers; larger ones hold examples enough.
FEW_EXAMPLES = 512 * 512
# Gradual enlarging: 1.5, 2, 3, 4, 6, 8, ... are passed on the way to larger factors (ZSSR, section 3.3),
# unless the target is so near that the last step would be shorter than this.
SMALLEST_STEP = 1.15


@dataclass(frozen=True)
class Step:
    """One enlargement of the input: to `size`, learned from pairs made by `degradation`."""

    size: Size
    degradation: Chain
    training: Training

    @property
    def training_steps(self) -> int:
        """At most."""
        return self.training.steps


@dataclass(frozen=True)
class Plan:
    """What will be done to one picture, and with which settings. notes say in words what is not done, and why.

    image: the picture that is worked on: the input, colours under full transparency filled in, or the smaller one that
    its damage left. frame: the part of the result that is kept then. undamaged: (1, 1, *in_size) bool, pixels outside
    all damages of parts; None where there is none. priors: networks of other pictures that are used.
    out_size: (height, width) that `image` is enlarged to. warm: whether the network has initial weights of a similar
    picture. device, precision: of the network; sampling: the device where fathers are sampled; storage: where whole
    pictures lie. memory: bytes at the peak.
    """

    settings: Settings
    image: Image
    findings: tuple[Finding, ...]
    frame: Frame | None
    undamaged: Tensor | None
    priors: Priors
    out_size: Size
    steps: tuple[Step, ...]
    learns: bool
    network: NetworkShape
    transforms: frozenset[int]
    projects: bool
    tile: int
    device: torch.device
    sampling: torch.device
    storage: torch.device
    precision: torch.dtype
    memory: int
    notes: tuple[str, ...]
    warm: bool = False

    @property
    def in_size(self) -> Size:
        """(height, width) of the picture that is worked on."""
        return self.image.size

    @property
    def channels(self) -> int:
        """Of colour."""
        return len(self.image.pixels)

    @property
    def last(self) -> Step:
        """The one that makes the result."""
        return self.steps[-1]

    @property
    def undoes(self) -> bool:
        """Whether there is anything to be done at all."""
        return bool(self.last.degradation.parts)

    @property
    def enlargement(self) -> float:
        """The larger of the two factors that the result undoes."""
        return float(1 / min(self.last.degradation.scale))

    @property
    def compute(self) -> Compute:
        """Where and how the network computes."""
        return Compute(self.device, self.precision)

    @property
    def stages(self) -> list[Stage]:
        """Training and applying for each step, in order."""
        stages = []
        for step in self.steps:
            pixels = step.training.steps * pixels_of_a_step(step.training.crop_size, step.training.batch_size)
            stages.append(Stage("train", pixels))
            pixels = pixels_to_apply(step.size, self.tile, step.degradation, len(self.transforms))
            stages.append(Stage("apply", pixels))
        return stages

    @property
    def flops(self) -> float:
        """Of all training and applying."""
        if not self.learns:
            return 0.0
        pixels = sum(stage.pixels for stage in self.stages)
        shape = self.network
        groups = self.channels // shape.channels
        return flops(pixels, shape.channels, groups, shape.width, shape.depth, shape.kernel_size)

    def from_step(self, step: Step) -> tuple[Step, ...]:
        """It and all later ones."""
        number = next(number for number, other in enumerate(self.steps) if other is step)
        return self.steps[number:]

    def with_priors(self, priors: Priors, *notes: str) -> Plan:
        """Fewer or others, and the training that goes with them; notes: why."""
        steps = _with_training(self.steps, self.settings, self.warm or priors.initial is not None)
        return dataclasses.replace(self, priors=priors, steps=steps, notes=(*self.notes, *notes))

    def warm_started(self, weights: Weights | None) -> Plan:
        """For a network that starts from a similar picture's weights: a quarter of the steps, at a lower rate."""
        if weights is None:
            return self
        if not fits(weights, self.network):
            note = "the weights to begin with are of another kind of network: trained in full"
            return dataclasses.replace(self, notes=(*self.notes, note))
        fewer = [dataclasses.replace(step.training, steps=math.ceil(step.training.steps / 4)) for step in self.steps]
        steps = tuple(
            dataclasses.replace(step, training=training) for step, training in zip(self.steps, fewer, strict=True)
        )
        return dataclasses.replace(self, steps=_with_training(steps, self.settings, True), warm=True)

    def describe(self) -> str:
        """Several lines for people."""
        height, width = self.in_size
        sizes = " -> ".join(f"{w}x{h}" for h, w in [self.in_size, *(step.size for step in self.steps)])
        lines = [f"picture    {width}x{height}, {'grey' if self.channels == 1 else 'colour'}", f"result     {sizes}"]
        if self.learns:
            training = self.steps[0].training
            training_steps = ", ".join(str(step.training_steps) for step in self.steps)
            shape = self.network
            lines += [
                f"undoes     {self.last.degradation.describe()}",
                f"network    {shape.depth} layers, {shape.width} wide, {shape.kernel_size}x{shape.kernel_size}",
                f"training   at most {training_steps} steps of {training.batch_size} crops of"
                f" {training.crop_size}x{training.crop_size}",
                f"applied    in tiles of {self.tile}, {len(self.transforms)} flips and rotations"
                + (", projected on the input" if self.projects else ""),
                f"compute    about {self.flops / 1e12:.1f} TFLOP on {self.device}"
                f" in {'bf16' if self.precision == torch.bfloat16 else 'fp32'}",
            ]
        lines.append(f"memory     about {self.memory / 1e6:.0f} MB")
        lines += [f"note       {note}" for note in self.notes]
        return "\n".join(lines)


def make_plan(source: Source, settings: Settings) -> Plan:
    """Decide everything for one picture, given as `restore` takes it; this looks for damage, which takes a second or
    more.

    Raises PictureError, SettingsError, KernelError, PriorError or DeviceError for what cannot be done.
    """
    image = source if isinstance(source, Image) else as_image(source, settings)
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    out_size = settings.out_size(image.size)
    kernel = read_kernel(settings.kernel)
    check_memory(out_size, least_memory(len(image.pixels), out_size))  # before any work on a large picture
    repairs = _feasible_repairs(image, settings, out_size)
    priors, unfit = _fitting_priors(settings, precision, repairs, out_size != image.size)
    frame: Frame | None = None
    if repairs.smaller is not None:
        out_size, frame = repairs.smaller.enlarged(out_size)
        image, kernel = repairs.smaller.image, repairs.smaller.kernel or kernel
    image = dataclasses.replace(image, pixels=fill_hidden(image))
    undamaged = repairs.undamaged(image.size)
    learns, why_not = _learns(image, out_size, repairs, undamaged, settings)
    findings, notes = repairs.findings, repairs.notes
    if out_size != image.size and _is_pixel_art(image, settings, repairs):
        priors, learns = Priors(), False
        why_not = ("pixel art: each pixel is repeated (--repair none enlarges it as a photograph)",)
        final = Chain((Repeated(_scale(image.size, out_size)),))
    else:
        if kernel is None and out_size != image.size and all(part.point_spread is None for part in repairs.parts):
            kernel, found = _found_kernel(image, out_size, repairs)
            findings, notes = (found, *findings), notes if found.sure else (*notes, found.words)
        final = _chain(image.size, out_size, kernel or "bicubic", repairs.parts)
    steps = _steps(image.size, out_size, final, settings, learns, priors.initial is not None)
    channels = len(image.pixels)
    network = NetworkShape(
        min(settings.in_channels, channels), settings.model_width, depth_for(settings), settings.model_kernel_size,
        final.hint_channels(channels),
    )  # fmt: skip
    transforms = final.symmetries if settings.ensemble else frozenset({IDENTITY})
    tile = min(settings.patch_size or DEFAULT_TILE, 2 * math.ceil(max(out_size) / 2))
    plan = Plan(
        settings=settings,
        image=image,
        findings=findings,
        frame=frame,
        undamaged=undamaged,
        priors=priors,
        out_size=out_size,
        steps=steps,
        learns=learns,
        network=network,
        transforms=transforms,
        projects=settings.projection and not final.noisy,
        tile=tile,
        device=device,
        sampling=sampling_device(device),
        storage=storage_device(device, channels, out_size),
        precision=precision,
        memory=peak_memory(
            image, [step.size for step in steps], tile, network.width, len(transforms), precision,
            priors.estimator.bytes_a_pixel + max((part.bytes_a_pixel for part in final.parts), default=0),
        ),
        notes=(*notes, *unfit, *why_not),
    )  # fmt: skip
    check_memory(out_size, plan.memory)
    return _with_usable_initial_weights(plan)  # before hours of work


def _with_usable_initial_weights(plan: Plan) -> Plan:
    """Raises PriorError for initial weights that were named and do not fit the network."""
    initial = plan.priors.initial
    if initial is None or not plan.learns:
        return plan
    try:
        initial.begin(new_network(plan.network, plan.compute, torch.Generator()), plan.enlargement)
    except PriorError as error:
        if plan.settings.prior != AUTO:
            raise PriorError(f"prior {initial.name}: {error}") from None
        return plan.with_priors(dataclasses.replace(plan.priors, initial=None))
    return plan


def _feasible_repairs(image: Image, settings: Settings, out_size: Size) -> Repairs:
    """Without an earlier enlargement that was only found, where the smaller picture would have to be enlarged too far.

    Raises SettingsError where that was asked for, or is a mosaic.
    """
    repairs = repairs_for(image, settings, out_size != image.size)
    if repairs.smaller is None:
        return repairs
    size, _ = repairs.smaller.enlarged(out_size)
    if max(new / old for new, old in zip(size, repairs.smaller.image.size, strict=True)) <= LARGEST_FACTOR:
        return repairs
    if repairs.smaller.kernel is None and settings.enlarged is None and settings.repair == AUTO:
        repairs = repairs_for(image, dataclasses.replace(settings, enlarged=0), out_size != image.size)
        note = "it was enlarged before, but what it was made of is too small for this scale: left alone"
        return dataclasses.replace(repairs, notes=(*repairs.notes, note))
    raise SettingsError(f"the smaller picture it was made of would be enlarged over {LARGEST_FACTOR} times")


def _found_kernel(image: Image, out_size: Size, repairs: Repairs) -> tuple[Kernel, Finding]:
    """Read from the picture, unless its damage hides it; and what to say."""
    damages = [*repairs.parts, *(finding.damage for finding in repairs.findings)]
    return find_kernel(image.pixels, _scale(image.size, out_size), hides_kernel(damages))


def _is_pixel_art(image: Image, settings: Settings, repairs: Repairs) -> bool:
    """Whether a picture is of so few colours, with hard edges, that enlarging it must bring in no others."""
    if settings.repair != "auto" or repairs.parts or repairs.smaller is not None or settings.kernel != AUTO:
        return False
    colours = colours_of_drawing(image.pixels)
    return colours is not None and colours <= MOST_PIXEL_ART_COLOURS


def _fitting_priors(
    settings: Settings, precision: torch.dtype, repairs: Repairs, enlarges: bool
) -> tuple[Priors, tuple[str, ...]]:
    """Those that are for what is to be undone, and notes on the others. Raises PriorError if only all will do."""
    enlarges = enlarges or repairs.smaller is not None
    priors, unfit = fitting_priors(settings.prior, Chain(repairs.parts), enlarges, precision, settings.passes)
    if unfit and settings.prior_strict:
        raise PriorError(f"{unfit[0]}; leave --prior-strict out to go on without")
    return priors, unfit


def _learns(
    image: Image, out_size: Size, repairs: Repairs, undamaged: Tensor | None, settings: Settings
) -> tuple[bool, tuple[str, ...]]:
    """Whether a network is trained, and a note on why it is not."""
    if out_size == image.size and not repairs.parts:
        looked = "asked for" if settings.repair == "none" else "found"
        return False, (f"nothing to repair or enlarge was {looked}: the picture is kept as it is",)
    if settings.num_epochs == 0:
        return False, ("no training was asked for: a plain first estimate",)
    if min(image.size) < SMALLEST_SIDE:
        return False, (f"smaller than {SMALLEST_SIDE} pixels, too small to learn from: a plain first estimate",)
    if undamaged is not None and undamaged.float().mean() < SMALLEST_UNDAMAGED:
        return False, ("too little of the picture is undamaged to learn from: a plain first estimate",)
    return True, ()


def _chain(in_size: Size, out_size: Size, kernel: Kernel, parts: tuple[Degradation, ...]) -> Chain:
    """How a picture of out_size became the input."""
    if out_size == in_size:
        return Chain(parts)
    return Chain((Downscale(_scale(in_size, out_size), kernel), *parts))


def _scale(in_size: Size, out_size: Size) -> tuple[Fraction, Fraction]:
    """The exact ratio of the sizes rather than the factor asked for, so that both pictures share all four borders and a
    flip commutes with the damage."""
    vertical, horizontal = ratio(out_size, in_size)
    return min(vertical, Fraction(1)), min(horizontal, Fraction(1))


def _steps(
    in_size: Size, out_size: Size, final: Chain, settings: Settings, learns: bool, warm: bool
) -> tuple[Step, ...]:
    """The way to the result, and how each step is trained."""
    enlarges = out_size != in_size
    sizes = sizes_on_the_way(in_size, out_size) if learns else [out_size]
    first, further = steps_for(settings, enlarges)
    two_passes = EFFORTS[settings.quality].in_two_passes and math.prod(in_size) <= FEW_EXAMPLES and not settings.budget
    if learns and enlarges and len(sizes) == 1 and two_passes and first > 1:
        # The result of the first half joins the fathers of the second: larger ones, at the result's own scale.
        sizes, further = [out_size, out_size], first // 2
        first -= further
    training = training_for(settings, first, final.training, warm)
    return tuple(
        Step(
            size,
            final.rescaled(_scale(in_size, size)) if enlarges else final,
            training if number == 0 else dataclasses.replace(training, steps=further),
        )
        for number, size in enumerate(sizes)
    )


def _with_training(steps: tuple[Step, ...], settings: Settings, warm: bool) -> tuple[Step, ...]:
    """The same steps, warm or not."""
    training = training_for(settings, steps[0].training_steps, steps[-1].degradation.training, warm)
    return tuple(
        dataclasses.replace(step, training=dataclasses.replace(training, steps=step.training_steps)) for step in steps
    )


def sizes_on_the_way(size: Size, out_size: Size) -> list[Size]:
    """The (height, width) between a picture's and the result's, the result's last; both directions grow together."""
    vertical, horizontal = (math.log(new / old) for new, old in zip(out_size, size, strict=True))
    total = math.exp(max(vertical, horizontal))
    way = []
    factor = 1.5
    while factor * SMALLEST_STEP < total and total > 2:
        share = math.log(factor) / math.log(total)
        way.append((round(size[0] * math.exp(share * vertical)), round(size[1] * math.exp(share * horizontal))))
        factor *= 4 / 3 if len(way) % 2 else 1.5
    return [*way, out_size]
