"""zssr evaluate: scores on folders of pictures."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zssr.cli.exits import DONE
from zssr.cli.flags import Parser, add_settings, number, settings_of
from zssr.cli.progress import Shell
from zssr.errors import OutputError, SettingsError

if TYPE_CHECKING:
    from zssr.evaluate import Score, Table, TestDamage
    from zssr.settings import Settings

# Settings that say where and how results are written, or that evaluation decides itself.
LEFT_OUT = {"output", "format", "jpeg_quality", "skip_existing", "sidecar", "base64", "strip", "size"}


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "zssr evaluate",
        "zssr evaluate DIR --scale S [options]\n       zssr evaluate --results DIR --truth DIR --scale S\n"
        "       zssr evaluate --damage list",
        "Downscale each picture of a folder, restore it, and score the result against the picture; or score the\n"
        "results of any tool. PSNR and SSIM on luma: 8-bit rounding, BT.601 16 to 235, border of S pixels cut.",
    )
    parser.add_argument("folder", nargs="?", metavar="DIR", help="folder of undamaged pictures")
    parser.add_argument(
        "--damage", metavar="NAME:AMOUNT",
        help="instead of --scale, such as jpeg:10, or several joined by +, as in jpeg:10+scale:2; --damage list prints"
        " all",
    )  # fmt: skip
    parser.add_argument(
        "--separately", action="store_true", help="undo the smaller size after the rest, not all together"
    )
    parser.add_argument(
        "--part", choices=("training", "held-out"),
        help="only the pictures that the --prior was trained on, or those kept apart",
    )  # fmt: skip
    parser.add_argument(
        "--longest", type=number("int"), metavar="N", help="make pictures smaller first, to a longest side of N"
    )
    parser.add_argument("--results", metavar="DIR", help="score these results instead of making them")
    parser.add_argument("--truth", metavar="DIR", help="folder with the truth for --results, matched by name and size")
    parser.add_argument("--json", metavar="FILE", dest="json_file", help="write the figures as JSON too")
    parser.add_argument("--save", metavar="DIR", help="keep the results, named as the pictures")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    add_settings(parser, LEFT_OUT)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Damage, restore and score pictures, or score results, or list the damages."""
    options = _parser().parse_args(arguments)
    if options.damage == "list":
        return _list_damages()
    if bool(options.results) != bool(options.truth) or bool(options.folder) == bool(options.results):
        raise SettingsError("evaluate: give either a folder of pictures, or --results and --truth")
    settings = settings_of(options)
    if options.json_file and Path(options.json_file).exists() and not settings.overwrite:
        raise OutputError(f"{options.json_file}: exists already; use --overwrite")
    if options.damage and (settings.scale is not None or options.results):
        raise SettingsError("evaluate: --damage makes the damage itself; give the factor as --damage ...+scale:2")
    from zssr.evaluate import TestDamage, score_results

    damage = None if options.damage is None else TestDamage.parse(options.damage)
    together = bool(options.results) or os.path.isfile(settings.prior)
    priors = [settings.prior] if together else settings.prior.split(",")
    if options.longest is not None and options.longest < 16:
        raise SettingsError(f"evaluate: --longest {options.longest} must be at least 16")
    parameters = {} if options.results else _parameters(priors)
    only = None if options.part is None else _part_of(options.part, priors)
    if len(priors) > 1 and options.save is not None:
        raise SettingsError("evaluate: --save needs one --prior, as the results would have the same names")
    show = _rows("bicubic" if damage is None else damage.compared_with)
    if options.results:
        table = score_results(Path(options.results), Path(options.truth), settings, show)
        _print_mean(table)
        tables = {settings.prior: table}
    else:
        tables = _evaluated(options, settings, priors, damage, only, show)
    if len(tables) > 1:
        _compare_priors(tables, parameters)
    if options.json_file:
        _write_json(tables, options.json_file, settings.overwrite)
    return DONE


def _evaluated(
    options: argparse.Namespace,
    settings: Settings,
    priors: Sequence[str],
    damage: TestDamage | None,
    only: frozenset[str] | None,
    show: Callable[[Score], None],
) -> dict[str, Table]:
    """The table of each prior, printed."""
    from zssr.evaluate import evaluate

    shell = Shell(options.quiet, False, sys.stdout)
    save = None if options.save is None else Path(options.save)
    tables = {}
    for prior in priors:
        chosen = dataclasses.replace(settings, prior=prior)
        if len(priors) > 1:
            shell.say(f"prior {prior}")
        table = evaluate(
            Path(options.folder), chosen, show, shell.bars, save, damage, options.separately, only, options.longest
        )
        _print_mean(table)
        if prior != "none":
            of = f"of {len(table.scores)} pictures"
            print("priors used: " + (", ".join(f"{name} on {n} {of}" for name, n in table.used.items()) or "none"))
        tables[prior] = table
    return tables


def _parameters(priors: Sequence[str]) -> dict[str, int]:
    """Of each prior's networks; a prior that is none is told of before hours of work."""
    from zssr.priors import named_priors

    return {prior: sum(one.parameters for one in named_priors(prior)) for prior in priors}


def _part_of(part: str, priors: Sequence[str]) -> frozenset[str]:
    """The names of the pictures that all of these were trained on, or that were kept apart from all."""
    from zssr.priors import named_priors
    from zssr.priors.estimators import Own

    parts = ("training",) if part == "training" else ("validation", "test")
    found = []
    for prior in (one for names in priors for one in named_priors(names)):
        if isinstance(prior, Own):
            found.append(frozenset(Path(name).name for part in parts for name in prior.card.pictures[part]))
    if not found:
        raise SettingsError(f"evaluate: --part {part} needs a --prior whose card names its pictures")
    return frozenset.intersection(*found)


# ----------------------------------------------------------------------------------------- printing


def _rows(before: str) -> Callable[[Score], None]:
    """Prints one picture's figures; above the first, when all that can be refused has been, the heading."""
    first = True

    def show(score: Score) -> None:
        nonlocal first
        if first:
            print(score.heading(before))
        first = False
        print(score.row(), flush=True)

    return show


def _print_mean(table: Table) -> None:
    print(table.mean().row())
    print(f"peak memory {table.peak_megabytes:.0f} MB, {table.protocol}")


def _compare_priors(tables: dict[str, Table], parameters: dict[str, int]) -> None:
    print(f"\n{'prior':24}{'parameters':>12}{'PSNR':>9}{'gain':>7}{'SSIM':>9}{'PSNR-B':>9}{'CPU s':>9}")
    for name, table in tables.items():
        mean = table.mean()
        blocks = f"{mean.psnr_b:.2f}" if math.isfinite(mean.psnr_b) else "-"
        print(
            f"{Path(name).name[:23]:24}{parameters[name]:12}{mean.psnr:9.2f}{mean.psnr - mean.before_psnr:+7.2f}"
            f"{mean.ssim:9.4f}{blocks:>9}{mean.cpu_seconds:9.1f}"
        )


def _write_json(tables: dict[str, Table], path: str, overwrite: bool) -> None:
    """One table as it is, several by the names of their priors."""
    from zssr.files import write

    data = {prior: table.to_json() for prior, table in tables.items()}
    chosen = data if len(data) > 1 else next(iter(data.values()))
    write((json.dumps(chosen, indent=1) + "\n").encode(), path, overwrite)


def _list_damages() -> int:
    from zssr.damages import KINDS

    trials = [trial for kind in KINDS for trial in kind.trials]
    for trial in trials:
        print(f"{trial.name + ':AMOUNT':18}{trial.meaning}")
    placed = " and ".join(", ".join(trial.name for trial in trials if trial.placed).rsplit(", ", 1))
    print(f"{placed} damage a part of each picture, the others all of it")
    return DONE
