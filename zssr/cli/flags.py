"""Flags: how they are read, those of the settings, and the settings that come of them."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Set
from typing import Any, NoReturn

from zssr import settings as all_settings
from zssr.cli.exits import BAD_USAGE
from zssr.errors import did_you_mean
from zssr.settings import Settings, Spec

_NUMBERS: dict[str, Callable[[str], int | float]] = {"int": int, "float": float}


class Parser(argparse.ArgumentParser):
    """One line for a mistake, with the nearest flag, instead of a page of usage."""

    def __init__(
        self, prog: str, usage: str, description: str, epilog: str | None = None, allow_abbrev: bool = False
    ) -> None:
        super().__init__(prog, usage, description, epilog, formatter_class=_formatter, allow_abbrev=allow_abbrev)

    def error(self, message: str) -> NoReturn:
        wrong = message.removeprefix("unrecognized arguments: ").split()[0]
        if message.startswith("unrecognized arguments") and wrong.startswith("-"):
            flags = [flag for action in self._actions for flag in action.option_strings]
            message = f"unknown flag {wrong}{did_you_mean(wrong.split('=')[0], flags, '')}"
        self.exit(BAD_USAGE, f"{self.prog}: error: {message} ({self.prog} -h lists all)\n")


def _formatter(prog: str) -> argparse.HelpFormatter:
    width = min(110, shutil.get_terminal_size().columns - 1)
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=32, width=width)


def number(kind: str) -> Callable[[str], int | float]:
    """Reads an "int" or a "float"."""

    def parse(text: str) -> int | float:
        try:
            return _NUMBERS[kind](text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"'{text}' is not {'a whole number' if kind == 'int' else 'a number'}"
            ) from None

    return parse


def _amount(text: str) -> str | float:
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither auto nor a number") from None


def add_settings(parser: argparse.ArgumentParser, leave_out: Set[str] = frozenset()) -> None:
    """A flag for each setting, in its group; none for those left out."""
    groups: dict[str, Any] = {}
    for name, spec in all_settings.specs().items():
        if not spec.flags or name in leave_out:
            continue
        if spec.group not in groups:
            groups[spec.group] = parser.add_argument_group(spec.group)
        common: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS}
        if spec.kind != "bool":
            groups[spec.group].add_argument(*spec.flags, **common, **_with_value(spec))
            continue
        off = all_settings.switches_off(spec)
        actions = ("store_false", "store_true") if off else ("store_true", "store_false")
        groups[spec.group].add_argument(*spec.flags, **common, action=actions[0], help=_help(spec))
        # The opposite, to overrule a config file.
        opposite = spec.flags[0].replace("--no-", "--") if off else spec.flags[0].replace("--", "--no-")
        parser.add_argument(opposite, **common, action=actions[1], help=argparse.SUPPRESS)


def _with_value(spec: Spec) -> dict[str, Any]:
    """What add_argument is told of a flag that takes a value."""
    options: dict[str, Any] = {"metavar": spec.metavar, "help": _help(spec)}
    if spec.kind in _NUMBERS:
        options["type"] = number(spec.kind)
    if spec.kind == "amount":
        options["type"] = _amount
    if spec.choices:  # checked by Settings, with the nearest name
        few = len(spec.choices) < 4
        options["metavar"] = "|".join(spec.choices) if few else "NAME"
        options["help"] += "" if few else f" ({', '.join(spec.choices)})"
    return options


def _help(spec: Spec) -> str:
    return spec.help.replace("%", "%%")


def settings_of(options: argparse.Namespace) -> Settings:
    """From the config file, then the flags."""
    keywords = all_settings.from_file(options.config) if getattr(options, "config", None) else {}
    given = {name: value for name, value in vars(options).items() if name in all_settings.specs()}
    # A flag replaces all that the file says on the same question.
    for same in ({"scale", "size", "scale_factor", "scale_times"}, {"overwrite", "skip_existing"}):
        if same & set(given):
            keywords = {name: value for name, value in keywords.items() if name not in same}
    return all_settings.make(**{**keywords, **given})
