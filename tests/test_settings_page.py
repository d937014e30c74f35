"""The page of settings and the class of settings say the same."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from mirepoix.config import Settings

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "settings.md"
ROW = re.compile(r"^\| `(\w+)` \| `([^`]+)` \| \S.* \|$", re.MULTILINE)


def test_every_setting_is_on_the_page_with_its_default_and_nothing_else_is():
    on_page = ROW.findall(PAGE.read_text("utf-8"))
    in_class = {field.name: repr(field.default) for field in fields(Settings)}
    assert dict(on_page) == in_class
    assert len(on_page) == len(in_class)
