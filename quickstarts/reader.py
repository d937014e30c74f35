"""A reader who does what a page says, to the letter, in an empty folder and with nothing but the page."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pace import pace
from quickstarts.page import Block, Command, Section

PATIENCE_S = 120 * pace()
"""How long one line may take, or what it starts may take to say something. Installing waits for a package index."""

INSTALLING_S = 900 * pace()
"""How long a test may take that installs packages."""

_STAYS = re.compile(r"^(celery .*\b(worker|beat)\b|uvicorn\b|flask .*\brun\b|python manage\.py runserver\b)")
"""Lines whose programs run until somebody ends them: each gets a terminal of its own."""

_OF_THE_CALLER = ("PYTHON", "VIRTUAL_ENV", "DJANGO", "CELERY", "MIREPOIX", "VENV", "PYTEST", "COV_", "SHOP_")
"""Environment variables that begin so are the caller's, and the reader has none of them."""


class Running:
    """A program in a terminal of its own."""

    def __init__(self, line: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.line = line
        tied = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        self._process = subprocess.Popen(
            [*tied, "bash", "-c", f"exec {line}"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.session = self._process.pid
        self._said: list[str] = []
        self._is_over = False
        self._news = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    @property
    def said(self) -> str:
        """All that it has printed."""
        return "".join(self._said)

    def says(self, text: str) -> str:
        """Wait until it has printed *text*, and return all that it has printed. AssertionError if it ends without."""
        with self._news:
            self._news.wait_for(lambda: self._is_over or text in self.said, PATIENCE_S)
        assert text in self.said, f"{self.line!r} did not say {text!r} but:\n{self.said}"
        return self.said

    def end(self) -> None:
        """Kill all of it."""
        with suppress(ProcessLookupError):
            os.killpg(self.session, signal.SIGKILL)
        self._process.wait()
        self._reading.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._news:
                    self._said.append(line)
                    self._news.notify_all()
        with self._news:
            self._is_over = True
            self._news.notify_all()


class Reader:
    """Types lines, and writes files.

    *instead* are the texts of the page that stand for something of the reader's own, such as the path of the package.
    The folder and the environment of a line are those that the line before has left. Nothing that is not a page's is
    changed: `pkill` finds the programs of this reader alone.
    """

    def __init__(self, folder: Path, python: str, instead: Mapping[str, str]) -> None:
        self.instead = dict(instead)
        self.said = ""
        self.running: list[Running] = []
        self._own = folder / "reader"
        self._folder = folder / "home"
        self._folder.mkdir()
        self._programs(python)
        theirs = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_CALLER)}
        venv = os.environ.get("VIRTUAL_ENV", "") + "/bin"
        path = [one for one in theirs.get("PATH", os.defpath).split(":") if one != venv]
        self._environment = theirs | {
            "PATH": ":".join([str(self._own / "bin"), *path]),
            "PYTHONNOUSERSITE": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_COMPILE": "1",  # what is imported is compiled then
            "READER_SESSIONS": str(self._own / "sessions"),
        }

    def has(self, **variables: str) -> None:
        """Let environment variables be set in terminals from now on."""
        self._environment.update(variables)

    def follow(self, section: Section, *, to: int | None = None) -> None:
        """Do the blocks of a section, in order: write what is a file, type what is for the console."""
        for block in section.blocks[:to]:
            self.do(block)

    def do(self, block: Block) -> None:
        """Write the block's file, or type its lines."""
        if block.file is not None:
            self.write(block.file, block.text, is_appended=block.is_appended)
        elif block.language == "console":
            for command in block.commands:
                self._do(command)
        else:
            raise AssertionError(f"What is to be done with this block?\n{block.text}")

    def write(self, name: str, text: str, *, is_appended: bool = False) -> None:
        """Write a file, or more of it."""
        path = self._folder / name
        with path.open("a" if is_appended else "w", encoding="utf-8") as file:
            file.write(self._own_words(text))

    def replace(self, name: str, line: str) -> None:
        """Change the line of a file that begins as *line* does, up to the first parenthesis."""
        path = self._folder / name
        begins = line.partition("(")[0] + "("
        before = path.read_text("utf-8").splitlines(keepends=True)
        after = [self._own_words(line) if one.startswith(begins) else one for one in before]
        assert sum(one.startswith(begins) for one in before) == 1, f"{name} has not one line with {begins}"
        path.write_text("".join(after), "utf-8")

    def types(self, line: str, *, may_fail: bool = False) -> str:
        """Type a line, and return what it prints, when it has succeeded."""
        line = self._own_words(line)
        left = self._own / "left"
        script = f'{line}\nended=$?\n{{ pwd && env -0; }} > {shlex.quote(str(left))}\nexit "$ended"'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S * 3,
            check=False,
        )
        self.said = done.stdout
        assert may_fail or done.returncode == 0, f"{line!r} ended with {done.returncode}:\n{done.stdout}"
        folder, _, variables = left.read_text("utf-8").partition("\n")
        self._folder = Path(folder)
        self._environment = dict(one.split("=", 1) for one in variables.split("\0") if one)
        return done.stdout

    def looks(self, line: str, *, for_: str) -> str:
        """Type a line again and again, until it prints what the reader looks for."""
        ends = time.monotonic() + PATIENCE_S
        while for_ not in self.types(line):
            assert time.monotonic() < ends, f"{line!r} still does not print {for_!r} but:\n{self.said}"
        return self.said

    def starts(self, line: str) -> Running:
        """Start a program in a terminal of its own, where it stays."""
        running = Running(self._own_words(line), self._folder, self._environment)
        self.running.append(running)
        with (self._own / "sessions").open("a") as sessions:
            sessions.write(f"{running.session}\n")
        for words, ready in _READY.items():
            if words in line:
                running.says(ready)
        return running

    def program(self, words: str) -> Running:
        """The latest program whose line has these words."""
        return next(one for one in reversed(self.running) if words in one.line)

    def leave(self) -> None:
        """End everything that runs."""
        while self.running:
            self.running.pop().end()

    def _do(self, command: Command) -> None:
        if _STAYS.match(command.line):
            self.starts(command.line)
            return
        printed = self.types(command.line, may_fail=bool(command.shown))
        if command.shown:
            assert printed.strip() == command.shown, f"{command.line!r} printed:\n{printed}"

    def _own_words(self, text: str) -> str:
        for theirs, own in self.instead.items():
            text = text.replace(theirs, own)
        return text

    def _programs(self, python: str) -> None:
        """What this reader's terminals find first: the Python that was chosen, and a pkill that harms nobody else."""
        programs = self._own / "bin"
        programs.mkdir(parents=True)
        pkill = f'exec {shutil.which("pkill")} --session "$(paste -sd, "$READER_SESSIONS")" "$@"'
        for name, does in {"python3": f'exec {shlex.quote(python)} "$@"', "pkill": pkill}.items():
            (programs / name).write_text(f"#!/bin/sh\n{does}\n")
            (programs / name).chmod(0o755)


_READY = {
    " worker --loglevel=info": " ready.",
    "uvicorn ": "Uvicorn running on",
    "flask ": "Running on",
    " beat": "beat: Starting",
}
"""What a program says when the reader may go on to the next terminal."""
