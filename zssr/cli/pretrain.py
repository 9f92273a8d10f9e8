"""zssr pretrain and zssr pack: networks for --prior, and pictures to train them on."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zssr.cli.exits import DONE, INTERRUPTED, complain
from zssr.cli.flags import Parser, number
from zssr.cli.progress import Shell
from zssr.errors import SettingsError

if TYPE_CHECKING:
    from zssr.priors.cards import Card
    from zssr.priors.recipes import Recipe


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "zssr pretrain",
        "zssr pretrain FAMILY --data DIR --out FILE.safetensors [options]\n       zssr pretrain list",
        "Train a network for --prior on a folder of undamaged pictures, or of shards. What it was trained with, and\n"
        "how well it does on pictures kept apart, is written into the file. Stopped, it goes on from its checkpoint.",
    )
    parser.add_argument(
        "family", metavar="FAMILY", help="kind of network, such as jpegnet or unet; zssr pretrain list prints all"
    )
    parser.add_argument("--data", metavar="DIR", required=True, help="folder of undamaged pictures")
    parser.add_argument("--out", metavar="FILE", required=True, help="weights; FILE.csv beside it: validation curve")
    whole, real = number("int"), number("float")
    parser.add_argument("--steps", type=whole, metavar="N", help="training steps; this and the next six: the family's")
    parser.add_argument("--minutes", type=real, metavar="M", help="as many steps as take about so long, not --steps")
    parser.add_argument("--batch", type=whole, metavar="N", help="crops in a step")
    parser.add_argument("--crop", type=whole, metavar="N", help="side of a crop, a multiple of 8 (some: of more)")
    parser.add_argument("--lr", type=real, metavar="R", help="largest learning rate")
    parser.add_argument("--loss", metavar="KIND", help="l1, l2, relative-l1 or relative-l2 (to the first estimate's)")
    parser.add_argument("--qualities", metavar="LOW,HIGH", help="JPEG qualities to train for")
    parser.add_argument(
        "--factors", metavar="LIST", help="of meta and sr: factors to train for, 1 for JPEG; others stay as they were"
    )
    parser.add_argument("--seed", type=whole, metavar="N", help="of weights and crops")
    parser.add_argument("--start", metavar="NAME|FILE", help="weights of the family to begin with")
    parser.add_argument("--workers", type=whole, default=1, metavar="N", help="processes that make crops; default 1")
    parser.add_argument("--save-every", type=whole, default=500, metavar="N", help="steps between checkpoints")
    parser.add_argument("--licence", default="unknown", metavar="TEXT", help="of the pictures, for the card")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"], help="number format")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Train a network of a family and write its weights, or list the families."""
    if list(arguments) == ["list"]:  # before the parser, which asks for --data and --out
        return _list_families()
    options = _parser().parse_args(arguments)
    from zssr.priors import located
    from zssr.priors.checkpoint import check_out
    from zssr.priors.recipes import recipe_for

    recipe = recipe_for(
        options.family, steps=options.steps, batch=options.batch, crop=options.crop, lr=options.lr, loss=options.loss,
        qualities=options.qualities, factors=options.factors, seed=options.seed,
    )  # fmt: skip
    if options.minutes is not None:
        recipe = _within_minutes(options, recipe)
    start = None if options.start is None else located(options.start)
    check_out(Path(options.out))
    checkpoint = Path(options.out).with_suffix(".checkpoint")
    shell = Shell(options.quiet, False, sys.stdout)
    if checkpoint.exists():
        shell.say(f"going on from {checkpoint}")
    try:
        card = _train(options, recipe, start, shell)
    except KeyboardInterrupt:
        kept = f"; the same command goes on from {checkpoint}" if checkpoint.exists() else ", before a checkpoint"
        return complain(f"interrupted{kept}", INTERRUPTED)
    before, after = card.validation["before"], card.validation["after"]
    shell.say(f"{options.out}: {before:.2f} -> {after:.2f} dB on pictures kept apart, {card.seconds} s")
    return DONE


def _within_minutes(options: argparse.Namespace, recipe: Recipe) -> Recipe:
    from zssr.priors.checkpoint import TrainingFiles
    from zssr.priors.pretrain import steps_within

    if options.steps is not None or options.minutes <= 0:
        raise SettingsError(f"minutes {options.minutes:g}: give more than 0, and no --steps")
    steps = TrainingFiles(Path(options.out)).planned_steps() or steps_within(
        60 * options.minutes, options.family, Path(options.data), recipe, options.device, options.precision
    )
    return dataclasses.replace(recipe, steps=steps)


def _train(options: argparse.Namespace, recipe: Recipe, start: Path | None, shell: Shell) -> Card:
    from zssr.priors.pretrain import pretrain

    with shell.steps(options.family, recipe.steps) as on_step:
        return pretrain(
            options.family, Path(options.data), Path(options.out), recipe, workers=options.workers,
            device=options.device, precision=options.precision, save_every=options.save_every,
            licence=options.licence, start=start, overwrite=options.overwrite, on_step=on_step,
        )  # fmt: skip


def _list_families() -> int:
    from zssr.priors.cards import FAMILIES

    for name, family in FAMILIES.items():
        print(f"{name:12}{family.task}")
    return DONE


def run_pack(arguments: Sequence[str]) -> int:
    """Decode a folder of pictures into shards."""
    parser = Parser(
        "zssr pack",
        "zssr pack DIR --out DIR [--shard-MB N]\n       zssr pack DIR --out DIR --smaller F",
        "Decode a folder of pictures into shards, which zssr pretrain reads piece by piece where they lie: for\n"
        "folders that do not fit in memory.",
    )
    parser.add_argument("folder", metavar="DIR", help="folder of pictures")
    parser.add_argument("--out", metavar="DIR", required=True, help="new folder for the shards")
    parser.add_argument("--shard-MB", type=number("float"), default=512, metavar="N", help="size; default 512")
    parser.add_argument(
        "--smaller",
        type=number("float"),
        metavar="F",
        help="no shards: PNG and WebP pictures, F times smaller, F over 1",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    from tqdm import tqdm

    from zssr.priors.pictures import make_smaller, pack

    with tqdm(unit="picture", disable=options.quiet or not sys.stderr.isatty()) as bar:

        def on_picture(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        if options.smaller is not None:
            count = make_smaller(Path(options.folder), Path(options.out), options.smaller, on_picture)
            return _said(options, f"{count} pictures")
        shards = pack(Path(options.folder), Path(options.out), options.shard_MB, on_picture)
    return _said(options, f"{shards} shard{'s' * (shards > 1)}")


def _said(options: argparse.Namespace, words: str) -> int:
    if not options.quiet:
        print(f"{options.out}: {words}")
    return DONE
