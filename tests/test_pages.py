"""The index and the navigation name every page, links lead to a heading, and the design pages name files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if path.name != "index.md")
DESIGN = sorted((DOCS / "design").glob("*.md"))
NAMED = {page.name: set(re.findall(r"`([a-z_/]+(?:\.py|\.sql|\.md|/))`", page.read_text())) for page in DESIGN}
SQL = ROOT / "src" / "mirepoix" / "sql"


@pytest.mark.parametrize("listing", [DOCS / "index.md", ROOT / "mkdocs.yml"], ids=["index", "navigation"])
def test_every_page_is_listed(listing: Path) -> None:
    text = listing.read_text()
    assert [page for page in PAGES if page not in text] == []


@pytest.mark.parametrize("page", sorted((DOCS / "how-to").glob("*.md")), ids=lambda page: page.stem)
def test_a_guide_is_short(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(prose.split()) < 1200, "move what most readers do not need to docs/reference, or to a page of its own"


@pytest.mark.parametrize("page", NAMED)
def test_the_files_that_a_design_page_names_exist(page: str) -> None:
    roots = (ROOT / "src" / "mirepoix", ROOT, SQL / "common", SQL / "postgresql")
    assert [name for name in NAMED[page] if not any((root / name).exists() for root in roots)] == []


def test_the_code_map_names_many_files() -> None:
    assert len(NAMED["code-map.md"]) > 50


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(f"docs/{name}" for name in ["index.md", *PAGES])])
def test_every_link_leads_to_a_page_and_a_heading(page: str) -> None:
    path = ROOT / page
    broken = []
    for target, heading in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)#?([^)\s]*)\)", path.read_text("utf-8")):
        found = path.parent / target if target else path
        is_on_site = page.startswith("docs/") <= found.resolve().is_relative_to(DOCS)  # the site has nothing else
        if not (is_on_site and found.exists()) or (heading and heading not in headings(found)):
            broken.append(f"{target}#{heading}")
    assert broken == []


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as mkdocs and GitHub make them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
