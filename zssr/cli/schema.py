"""zssr schema: what a config file may hold."""

from __future__ import annotations

import json
from collections.abc import Sequence

from zssr.cli.exits import DONE
from zssr.cli.flags import Parser
from zssr.settings import markdown_table


def run(arguments: Sequence[str]) -> int:
    """Print the JSON Schema of config files, or the settings as a table."""
    parser = Parser(
        "zssr schema", "zssr schema [-h] [--table]", "Print the JSON Schema of config files.", allow_abbrev=True
    )
    parser.add_argument("--table", action="store_true", help="print the settings as a Markdown table instead")
    options = parser.parse_args(arguments)
    from zssr.jobs import json_schema

    print(markdown_table() if options.table else json.dumps(json_schema(), indent=1), end="")
    if not options.table:
        print()
    return DONE
