"""Draw the states from their table. ``python tests/drawing.py`` puts the drawing into docs/design/states.md."""

from __future__ import annotations

import re
from pathlib import Path

from mirepoix.states import TRANSITIONS, State

PAGE = Path(__file__).parent.parent / "docs" / "design" / "states.md"
_BEGIN = "<!-- made by tests/drawing.py -->\n"
_END = "<!-- end -->\n"
_FRAME = '<div class="drawing" role="region" aria-label="Drawing" tabindex="0" markdown>'
"""The site scrolls the drawing in it."""


def drawing() -> str:
    """The Mermaid diagram and the table of verbs."""
    edges: dict[tuple[str, str], list[str]] = {}
    for transition in TRANSITIONS:
        for source in sorted(transition.sources, key=str):
            edges.setdefault((source or "[*]", transition.target), []).append(transition.verb)
    lines = [_FRAME, "", "```mermaid", "stateDiagram-v2"]
    lines += [f"    {source} --> {target}: {', '.join(verbs)}" for (source, target), verbs in edges.items()]
    lines += ["```", "", "</div>", "", "| Verb | From | To | Who |", "|---|---|---|---|"]
    for transition in TRANSITIONS:
        known = [state for state in State if state in transition.sources]
        sources = ", ".join(known) or "no row yet"
        lines.append(f"| `{transition.verb}` | {sources} | {transition.target} | {transition.who} |")
    return _BEGIN + "\n".join(lines) + "\n" + _END


def redraw() -> None:
    """Replace the drawing in the page."""
    text = PAGE.read_text("utf-8")
    PAGE.write_text(re.sub(re.escape(_BEGIN) + ".*?" + re.escape(_END), lambda _: drawing(), text, flags=re.DOTALL))


if __name__ == "__main__":
    redraw()
