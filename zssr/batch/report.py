"""What became of a batch run, as JSON and as one page to look at."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from pathlib import Path

import jinja2

from zssr.batch import BatchReport
from zssr.errors import OutputError
from zssr.files import write
from zssr.settings import parse_json
from zssr.version import __version__

PAGE = Path(__file__).parent / "report.html.jinja"


def check_report(name: str) -> None:
    """Raises OutputError where other files than an earlier report are in the way."""
    path = Path(f"{name}.json")
    try:
        content = parse_json(path.read_text(encoding="utf-8")) if path.exists() else {"outcomes": []}
        ours = isinstance(content, dict) and "outcomes" in content
    except (OSError, ValueError):
        ours = False
    if not ours or (Path(f"{name}.html").exists() and not path.exists()):
        raise OutputError(f'{name}: .json or .html of this name are no report of zssr; give another name ("report")')


def write_report(report: BatchReport, name: str) -> tuple[Path, Path]:
    """Write NAME.json and NAME.html, and return their paths; earlier ones are replaced. Raises OutputError."""
    paths = Path(f"{name}.json"), Path(f"{name}.html")
    counts = {state: report.count(state) for state in ("made", "kept", "failed", "lost")}
    outcomes = [dataclasses.asdict(outcome) for outcome in report.outcomes]
    content = {
        "version": __version__,
        "seconds": round(report.seconds, 1),
        "left": report.left,
        "counts": counts,
        "shared_weights": _shared(report),
        "outcomes": [{k: v for k, v in outcome.items() if k not in ("before", "after")} for outcome in outcomes],
    }
    write((json.dumps(content, indent=1) + "\n").encode(), paths[0], overwrite=True)
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(PAGE.read_text())
    # What needs a person first.
    order = {"failed": 0, "lost": 1, "made": 2, "kept": 3}
    page = template.render(
        outcomes=sorted(outcomes, key=lambda outcome: order[outcome["state"]]), counts=counts, report=report,
        version=__version__, shared=_shared(report),
    )  # fmt: skip
    write(page.encode(errors="backslashreplace"), paths[1], overwrite=True)
    return paths


def _shared(report: BatchReport) -> list[dict[str, float | str]]:
    """For each job that shared weights: the first picture's training in seconds, and the others' mean."""
    groups = defaultdict(list)
    for outcome in report.outcomes:
        if outcome.state == "made" and outcome.share:
            groups[outcome.share].append(outcome)
    found: list[dict[str, float | str]] = []
    for share, members in groups.items():
        first = max(members, key=lambda outcome: outcome.training_steps)
        others = [outcome for outcome in members if outcome is not first]
        if others:
            mean = sum(outcome.training_seconds for outcome in others) / len(others)
            saved = sum(first.training_seconds - outcome.training_seconds for outcome in others)
            found.append({
                "job": share, "first_seconds": first.training_seconds, "others_seconds": round(mean, 2),
                "others": len(others), "saved_seconds": round(saved, 1),
            })  # fmt: skip
    return found
