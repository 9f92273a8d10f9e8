"""zssr priors: what networks there are."""

from __future__ import annotations

from collections.abc import Sequence

from zssr.cli.exits import DONE
from zssr.cli.flags import Parser


def run(arguments: Sequence[str]) -> int:
    """List the networks that come with zssr, or those in files."""
    parser = Parser(
        "zssr priors",
        "zssr priors [FILE ...]\n       zssr priors --for PICTURE [--scale S]",
        "List the networks that come with zssr, or those in files: what they are for, their parameters and licence,\n"
        "and of zssr's own PSNR before and after on pictures that they were not trained on.",
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="weights: .safetensors, .pth, .ckpt")
    parser.add_argument("--for", dest="picture", metavar="PICTURE", help="say which --prior auto would take for it")
    parser.add_argument("--scale", metavar="S", help="with --for: by how much it is to be enlarged; default: repaired")
    options = parser.parse_args(arguments)
    if options.picture is not None:
        if options.files:
            parser.error("give files, or --for a picture")
        return _for_picture(options.picture, options.scale)
    if options.scale is not None:
        parser.error("--scale belongs to --for")
    from zssr.priors import load_prior, shipped
    from zssr.priors.estimators import Own

    names = options.files or list(shipped())
    if not names:
        print("none come with this version; zssr pretrain makes them")
    for name in names:
        prior = load_prior(name)
        print(f"{prior.name}: {prior.task}")
        kind = prior.card.family if isinstance(prior, Own) else "not of zssr"
        whose = "licence of its pictures" if isinstance(prior, Own) else "licence"
        print(f"  {kind}, {prior.parameters} parameters, SHA-256 {prior.sha256[:16]}, {whose}: {prior.licence}")
        if isinstance(prior, Own):
            card = prior.card
            count = len(card.pictures["training"])
            steps = " + ".join(map(str, reversed(card.stages)))
            print(
                f"  {card.validation['before']:.2f} -> {card.validation['after']:.2f} dB on pictures kept apart,"
                f" after {steps} steps on {count} pictures"
            )
    return DONE


def _for_picture(path: str, scale: str | None) -> int:
    """Say which priors fit a picture, judged on pairs made of it."""
    from zssr.plan import make_plan
    from zssr.prior_selection import settle
    from zssr.settings import Settings, from_json

    given = {"scale": scale} if scale is not None else {"repair": "auto"}
    settings = Settings(**from_json({"prior": "auto", **given}, "--scale"))
    plan = settle(make_plan(path, settings), None)
    for note in plan.notes:
        print(note)
    used = plan.priors.used() if plan.learns else plan.priors.firsts
    print("--prior " + ("+".join(prior.name for prior in used) or "none"))
    return DONE
