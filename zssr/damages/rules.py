"""What is about two kinds of damage at once: what one of them makes look like the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from zssr.damages.blur import Blur
from zssr.damages.defocus import Defocus
from zssr.damages.degradation import Degradation
from zssr.damages.enlarged import Enlarged
from zssr.damages.jpeg import Jpeg
from zssr.damages.jpeg.tables import nearest_quality
from zssr.damages.kind import Finding
from zssr.damages.mosaic import Mosaic
from zssr.damages.noise import Noise

# Grey levels of noise from which a blurred picture is rather left soft: sharpening it would sharpen the noise.
NOISE_HIDES_BLUR = 5.0
MIDDLE_GREY = 128
# Below this quality compression changes noise so much that one number says little of it; below the other one, that
# its spectrum says little.
NOISE_SURVIVES = 90
SPECTRUM_SURVIVES = 70


@dataclass(frozen=True)
class Unless:
    """A damage is left alone beside another one, unless it was asked for.

    when: whether these two are such a pair. note: what to say; empty where it is no damage of its own.
    """

    operator: type[Degradation]
    beside: type[Degradation]
    when: Callable[[Any, Any], bool]
    note: str = ""

    def applies(self, part: Degradation | None, others: Sequence[Degradation | None]) -> bool:
        """Whether `part` is left alone beside `others`."""
        if not isinstance(part, self.operator):
            return False
        return any(isinstance(other, self.beside) and self.when(part, other) for other in others)


def _is_coarse(noise: Noise, jpeg: Jpeg) -> bool:
    return nearest_quality(jpeg.tables[0]) < (NOISE_SURVIVES if noise.spectrum is None else SPECTRUM_SURVIVES)


def _always(part: Degradation, other: Degradation) -> bool:
    return True


def _is_mosaic(enlarged: Enlarged, mosaic: Mosaic) -> bool:
    return enlarged.repeats and bool(mosaic.region.pixels.all())


def _is_no_mosaic(mosaic: Mosaic, enlarged: Enlarged) -> bool:
    return not _is_mosaic(enlarged, mosaic)


def _overlaps(blur: Blur, mosaic: Mosaic) -> bool:
    return blur.region is not None and blur.region.overlaps(mosaic.region)


def _is_all_over(blur: Blur, other: Degradation) -> bool:
    return blur.region is None


def _hides_blur(noise: Noise) -> bool:
    return noise.sigma**2 + MIDDLE_GREY * noise.slope > NOISE_HIDES_BLUR**2


def _under_noise(blur: Blur, noise: Noise) -> bool:
    return blur.region is None and _hides_blur(noise)


LEFT_ALONE = (
    Unless(Blur, beside=Defocus, when=_is_all_over),  # a lens out of focus makes a picture soft
    Unless(Blur, beside=Mosaic, when=_is_all_over),
    # What is interpolated is soft, its noise too; the smaller picture tells what was there before.
    Unless(Blur, beside=Enlarged, when=_always),
    Unless(Noise, beside=Enlarged, when=_always),
    Unless(Mosaic, beside=Enlarged, when=_is_no_mosaic),
    Unless(Enlarged, beside=Mosaic, when=_is_mosaic),
    Unless(
        Blur,
        beside=Noise,
        when=_under_noise,
        note="softness under noise is left as it is (--repair softness,noise undoes both)",
    ),
    Unless(
        Noise,
        beside=Jpeg,
        when=_is_coarse,
        note="noise under compression is left to the repair of the compression (--noise undoes it)",
    ),
    Unless(Blur, beside=Mosaic, when=_overlaps),  # a pixelated part looks blurred
)


def hides_kernel(damages: Iterable[Degradation | None]) -> str:
    """What of these damages, in a word, hides how sharp a picture was before; empty where none does."""
    for damage in damages:
        if isinstance(damage, Jpeg) and nearest_quality(damage.tables[0]) < NOISE_SURVIVES:
            return "the compression"
        if isinstance(damage, Noise) and _hides_blur(damage):
            return "the noise"
    return ""


def without_echoes(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Without findings that are no damage of their own, because another one, that is sure, looks like them."""
    sure = [finding.damage for finding in findings if finding.sure]
    silent = [rule for rule in LEFT_ALONE if not rule.note]
    return tuple(finding for finding in findings if not any(rule.applies(finding.damage, sure) for rule in silent))


def known_after_later_ones(parts: Sequence[Degradation]) -> tuple[Degradation, ...]:
    """Parts in the order in which they happened, each as far as it is still known after those that followed."""
    return tuple(part.before(parts[number + 1 :]) for number, part in enumerate(parts))
