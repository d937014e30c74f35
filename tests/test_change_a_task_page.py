"""The pages about changing tasks: every example runs, and every output is what the command prints.

The guide has one example and its whole output. The reference has an example for each kind of change, and of each output
the lines about that change.
"""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import fork_server
from fork_server import ForkServer
from pace import DEADLINE_S, until

DOCS = Path(__file__).parent.parent / "docs"
GUIDE = DOCS / "how-to" / "change-a-task.md"
REFERENCE = DOCS / "reference" / "changing-tasks.md"
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RELEASE = re.compile(r"# shop\.py, release (\d)(, not like this)?\n")
CALLERS = re.compile(r"# callers of release (\d)\n")


@dataclass(frozen=True)
class Recipe:
    """The code and the output blocks of the guide, or of one section of the reference."""

    title: str
    blocks: tuple[tuple[str, str], ...]


def recipes() -> dict[str, Recipe]:
    """The guide, and the sections of the reference that have examples, by title."""
    parts = re.split(r"^(##+ .*)$", REFERENCE.read_text("utf-8"), flags=re.MULTILINE)
    sections = zip(["", *parts[1::2]], parts[::2], strict=True)
    found = [
        Recipe("the guide", tuple(BLOCK.findall(GUIDE.read_text("utf-8")))),
        *(Recipe(title.strip("# "), tuple(BLOCK.findall(text))) for title, text in sections),
    ]
    return {recipe.title: recipe for recipe in found if recipe.blocks}


RECIPES = recipes()
HEAD = RECIPES[""].blocks[0][1]
EXAMPLES = [title for title, recipe in RECIPES.items() if any(RELEASE.match(block) for _, block in recipe.blocks)]
CHANGES = [title for title in EXAMPLES if title != "the guide"]


class Shop:
    """The module of the examples, in a folder with its ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def become(self, code: str) -> None:
        (self.folder / "shop.py").write_text(f"{HEAD}\n{code}")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return fork_server.run([sys.executable, *command], self.folder, {"COLUMNS": "80"}, timeout_s=DEADLINE_S)

    def signatures(self, command: str) -> str:
        done = self.run("-m", "mirepoix.cli", "--app", "shop", "signatures", command)
        assert done.returncode in (0, 1), done.stderr
        return "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"

    def calls(self, code: str) -> None:
        done = self.run("-c", code)
        assert done.returncode == 0, done.stderr

    def works_off(self) -> None:
        """A worker with the code as it is now runs all there is."""
        command = [sys.executable, "-m", "celery", "-A", "shop", "worker", "-P", "solo", "-l", "info"]
        command += ["--without-gossip", "--without-mingle"]
        process = ForkServer.of().start(command, self.folder, fork_server.ENVIRONMENT, self.folder / "log")
        try:
            until(lambda: set(self.states()) == {"succeeded"}, "all tasks succeeded")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_S)

    def states(self) -> list[str]:
        connection = sqlite3.connect(self.folder / "shop.db", timeout=30)
        try:
            return [row[0] for row in connection.execute("SELECT state FROM mirepoix_task")]
        finally:
            connection.close()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def outputs(shop: Shop, recipe: Recipe) -> list[tuple[str, str]]:
    """Each output on the page, and what the command prints."""
    found, printed, is_meant = [], "", False
    for kind, block in recipe.blocks:
        release = RELEASE.match(block)
        if release:
            if is_meant:
                shop.signatures("lock")  # of the release before
            shop.become(block)
            is_meant = not release[2]
            printed = "" if release[1] == "1" else shop.signatures("check")
        elif kind == "text":
            found.append((block, printed))
    return found


@pytest.mark.slow
def test_the_guide_shows_the_whole_output(shop: Shop):
    ((on_page, printed),) = outputs(shop, RECIPES["the guide"])
    assert on_page == printed


@pytest.mark.slow
@pytest.mark.parametrize("title", CHANGES)
def test_the_command_prints_what_the_reference_says(shop: Shop, title: str):
    pairs = outputs(shop, RECIPES[title])
    assert pairs
    for on_page, printed in pairs:
        assert f"\n{on_page}" in f"\n{printed}"


@pytest.mark.slow
@pytest.mark.parametrize("title", EXAMPLES)
def test_what_each_release_sends_runs_in_the_next_one_and_in_its_own(shop: Shop, title: str):
    """What old workers do with new payloads: tests/e2e/test_releases.py."""
    for _, block in RECIPES[title].blocks:
        release = RELEASE.match(block)
        if release and not release[2]:
            shop.become(block)
            if release[1] != "1":
                shop.works_off()
        elif CALLERS.match(block):
            shop.calls(block)
    shop.works_off()


@pytest.mark.slow
def test_a_sender_without_the_code_names_the_version(shop: Shop):
    (block,) = [block for kind, block in RECIPES["Senders that do not have the code"].blocks if kind == "python"]
    shop.calls(block)
    code = [block for _, block in RECIPES["the guide"].blocks if RELEASE.match(block)]
    shop.become(code[1])
    shop.works_off()
    assert "charge order 42 in USD" in (shop.folder / "log").read_text()


def test_every_block_of_the_pages_is_tested():
    known = [RELEASE, CALLERS, re.compile("# shop.py\n"), re.compile("# callers without the code\n")]
    for recipe in RECIPES.values():
        for kind, block in recipe.blocks:
            assert kind == "text" or any(pattern.match(block) for pattern in known), block
