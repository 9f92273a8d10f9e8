"""What happened to a picture, and how sure that is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from zssr.damages import KINDS, Finding
from zssr.image import Image, fill_hidden
from zssr.settings import REPAIRS


def diagnose(
    image: Image, kinds: Collection[str] = REPAIRS, thorough: Collection[str] = REPAIRS
) -> tuple[Finding, ...]:
    """Look for damages of the given kinds, in the order in which they are listed in settings.REPAIRS.

    thorough: kinds of which rare damage that takes long to find is looked for too, such as a compression under that of
    the file.
    """
    pixels = fill_hidden(image)
    find = {kind.name: kind.find for kind in KINDS if kind.find is not None}
    findings: list[Finding] = []
    for name in REPAIRS:
        if name in kinds:
            findings += find[name](image, pixels, name in thorough)
    return tuple(findings)


def describe(findings: Sequence[Finding]) -> str:
    """Lines for people."""
    if not findings:
        return "no damage found"
    automatic = {kind.name for kind in KINDS if kind.automatic}
    lines = []
    for finding in findings:
        remarks = [] if finding.sure else ["not sure"]
        if finding.damage is not None and not (finding.sure and finding.kind in automatic):
            remarks.append(f"--repair {finding.kind} undoes it")
        lines.append(f"{finding.words} ({'; '.join(remarks)})" if remarks else finding.words)
    return "\n".join(lines)
