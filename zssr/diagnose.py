"""What happened to a picture, and how sure that is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from zssr.damages import KINDS, Degradation, Finding
from zssr.damages.downscale import find_kernel
from zssr.damages.rules import hides_kernel, without_echoes
from zssr.damages.smaller import SmallerPicture
from zssr.drawn import colours_of_drawing
from zssr.image import Image, fill_hidden
from zssr.resample import Size, ratio
from zssr.settings import REPAIRS

# Kinds that are no damages of their own where the picture is enlarged.
ONLY_OWN_SIZE = frozenset(kind.name for kind in KINDS if kind.only_own_size)


def diagnose(
    image: Image, kinds: Collection[str] = REPAIRS, thorough: Collection[str] = REPAIRS, asked: Collection[str] = ()
) -> tuple[Finding, ...]:
    """Look for damages of the given kinds, in the order in which they are listed in settings.REPAIRS.

    thorough: kinds of which rare damage that takes long to find is looked for too, such as a compression under that of
    the file. asked: kinds that are looked for even in a drawing that may only look like them.
    """
    pixels = fill_hidden(image)
    wanted = sorted((kind for kind in KINDS if kind.name in kinds), key=lambda kind: REPAIRS.index(kind.name))
    colours = colours_of_drawing(pixels) if any(kind.drawn_colours for kind in wanted) else None
    findings: list[Finding] = []
    left_out = []
    for kind in wanted:
        if colours is not None and colours <= kind.drawn_colours and kind.name not in asked:
            left_out.append(kind.name)
        elif kind.find is not None:
            findings += kind.find(image, pixels, kind.name in thorough)
    if left_out:
        words = f"drawn in {colours} colours: what drawings only look like is not looked for ({', '.join(left_out)})"
        findings.append(Finding("drawn", words, 1.0, None))
    return tuple(findings)


def diagnose_for(image: Image, out_size: Size) -> tuple[Finding, ...]:
    """What to say of a picture that is to have `out_size`, without what another damage only makes it look like. If it
    is enlarged, the first is how it became smaller."""
    kinds = set(REPAIRS) if out_size == image.size else set(REPAIRS) - ONLY_OWN_SIZE
    findings = without_echoes(diagnose(image, kinds))
    sure = [finding for finding in findings if finding.sure]
    smaller = smaller_picture(
        image, [one.damage for kind in KINDS for one in sure if one.kind == kind.name and one.damage is not None]
    )
    if smaller is not None and smaller.kernel is None:  # its damages, and its kernel
        out_size, image = smaller.enlarged(out_size)[0], smaller.image
        further = kinds - ONLY_OWN_SIZE - {finding.kind for finding in findings}
        findings = (*findings, *without_echoes(diagnose(image, further)))
    if out_size == image.size:
        return findings
    hidden_by = hides_kernel(finding.damage for finding in findings)
    return find_kernel(fill_hidden(image), ratio(out_size, image.size), hidden_by)[1], *findings


def smaller_picture(image: Image, parts: Sequence[Degradation]) -> SmallerPicture | None:
    """What one of these damages, in the order in which they happened, left of a picture, if that is a smaller one."""
    made = (part.as_smaller_picture(image, parts[number + 1 :]) for number, part in enumerate(parts))
    return next(filter(None, made), None)


def describe(findings: Sequence[Finding]) -> str:
    """Lines for people."""
    if not findings:
        return "no damage found"
    automatic = {kind.name for kind in KINDS if kind.automatic}
    lines = []
    for finding in findings:
        remarks = [] if finding.sure else ["not sure"]
        if finding.kind in REPAIRS and finding.damage is not None and not (finding.sure and finding.kind in automatic):
            remarks.append(f"--repair {finding.kind} undoes it")
        lines.append(f"{finding.words} ({'; '.join(remarks)})" if remarks else finding.words)
    return "\n".join(lines)
