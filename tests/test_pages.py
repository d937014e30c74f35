"""The index and the navigation name every page, and the code map names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if path.name != "index.md")
NAMED = re.findall(r"`([a-z_/]+(?:\.py|\.sql|\.md|/))`", (DOCS / "design" / "code-map.md").read_text())


@pytest.mark.parametrize("listing", [DOCS / "index.md", ROOT / "mkdocs.yml"], ids=["index", "navigation"])
def test_every_page_is_listed(listing: Path) -> None:
    text = listing.read_text()
    assert [page for page in PAGES if page not in text] == []


def test_what_the_code_map_names_is_there() -> None:
    missing = [name for name in NAMED if not any((root / name).exists() for root in (ROOT / "src" / "mirepoix", ROOT))]
    assert len(NAMED) > 50
    assert missing == []
