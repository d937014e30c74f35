"""Print a long list as JSON, item by item: the output of `CliContext.print_json`, without holding all of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from textwrap import indent
from typing import Any

from mirepoix.operations.format import as_json


def print_json_list(name: str, items: Iterable[Any], rest: Callable[[], dict[str, Any]]) -> None:
    """Print ``{name: [items], …}``. *rest* returns the fields after the list; it is called after the last item."""
    out = sys.stdout
    out.write(f"{{\n  {as_json(name)}: [")
    comma = ""
    for item in items:
        out.write(f"{comma}\n{indent(as_json(item), '    ')}")
        comma = ","
    out.write("\n  ]" if comma else "]")
    for key, value in rest().items():
        out.write(f",\n  {as_json(key)}: {indent(as_json(value), '  ').lstrip()}")
    out.write("\n}\n")
