"""Find the files by which a project is deployed, and read how each starts and stops its processes.

What was not read is reported with the reason: a file that is broken or too large, a folder that may not be read, and
all that is beyond the limits. The reason names the type of an error, never a text of the file.
Templates of Helm are left out. An alias of YAML is followed once, so a small file cannot become a large answer.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mirepoix.doctor.facts import Unit

try:
    import yaml  # type: ignore[import-untyped]
except ImportError:
    yaml = None

MOST_FILES = 2_000
"""How many files with a fitting name are read."""
MOST_ENTRIES = 200_000
"""How many names in folders are looked at."""
MOST_BYTES = 1_000_000
"""How large a file may be."""
SKIPPED = frozenset({".git", ".venv", "venv", "node_modules", "__pycache__", "build", "dist", "site-packages"})
SYSTEMD_STOP_S = 90.0
"""``DefaultTimeoutStopSec``: systemd-system.conf(5)."""
SUPERVISOR_STOP_S = 10.0
"""``stopwaitsecs``: supervisord.org, configuration of [program:x]."""
KUBERNETES_STOP_S = 30.0
"""``terminationGracePeriodSeconds``, and the time of a Heroku dyno."""
_DURATION = re.compile(r"([\d.]+)\s*(ms|s|sec|m|min|h|hr)?\s*")
_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hr": 3600, None: 1, "": 1}


_KINDS = ("Deployment", "StatefulSet", "DaemonSet")
_INTERESTING = re.compile(rf"\bkind[\"']?\s*:\s*[\"']?({'|'.join((*_KINDS, 'List'))})\b")
_NEXT_DOCUMENT = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_DIRECTIVE = re.compile(r"^%.*$", re.MULTILINE)
_MOST_MERGED = 10_000
"""How many keys a mapping may take from aliases, which can double them at each step."""


@dataclass(slots=True)
class Reading:
    """The processes that the files start, and what was not read, with the reason."""

    units: list[Unit] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def found_in(places: Iterable[Path]) -> Reading:
    """Return the processes that the files in *places* (files or folders) start."""
    reading = Reading()
    for path, read in _files(list(places), reading.unread):
        try:
            if path.stat().st_size > MOST_BYTES:
                reading.unread.append(f"{path} is larger than {MOST_BYTES // 1_000_000} MB")
                continue
            text = path.read_text("utf-8", errors="replace")
            reading.units += read(path, text, reading.unread)
        except Exception as error:  # noqa: BLE001 (a template, or a file of another kind with the same name)
            reading.unread.append(f"{path} cannot be read: {type(error).__name__}")
    return reading


Reader = Callable[[Path, str, list[str]], list[Unit]]


def _files(places: list[Path], unread: list[str]) -> Iterator[tuple[Path, Reader]]:
    """Yield the files to read, those of a folder before those of its subfolders."""
    files, entries = 0, 0
    named = frozenset(places)
    waiting = deque(places)
    while waiting:
        place = waiting.popleft()
        try:
            if place.is_dir():
                # A symbolic link may lead round in a circle.
                children = sorted(
                    place / entry.name
                    for entry in os.scandir(place)
                    if entry.name not in SKIPPED and not entry.is_symlink()
                )
                entries += len(children)
                waiting += children
            elif not (read := _reader(place)):
                if place in named:
                    unread.append(f"{place}: the doctor knows no file of this name")
            elif place.is_file():
                files += 1
                if files > MOST_FILES:
                    unread.append(f"{place} and all files after it: the limit is {MOST_FILES} files")
                    return
                yield place, read
        except OSError as error:
            unread.append(f"{place} cannot be read: {type(error).__name__}")
        if entries > MOST_ENTRIES:
            unread.append(f"{place} and all folders after it: the limit is {MOST_ENTRIES} names")
            return


def _reader(path: Path) -> Reader | None:
    if path.name == "Procfile":
        return _procfile
    if path.name.startswith("Dockerfile") or path.suffix.lower() == ".dockerfile":
        return _dockerfile
    return {
        ".service": _systemd,
        ".conf": _supervisor,
        ".ini": _supervisor,
        ".yaml": _kubernetes,
        ".yml": _kubernetes,
    }.get(path.suffix)


def _ini(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#", ";"), inline_comment_prefixes=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(re.sub(r"\\\n\s*", " ", text))
    return parser


def _systemd(path: Path, text: str, _: list[str]) -> list[Unit]:
    service = dict(_ini(text)["Service"])
    words = _words(service.get("ExecStart", "").lstrip("@-:+!"))
    unit = Unit(
        str(path),
        "systemd",
        path.stem,
        " ".join(words),
        stop_s=_seconds(service.get("TimeoutStopSec", service.get("TimeoutSec")), SYSTEMD_STOP_S),
        kill_mode=service.get("KillMode", "control-group"),
        is_restarted=service.get("Restart", "no") in ("always", "on-failure"),
        is_in_shell=_is_in_shell(words),
    )
    return [unit]


def _supervisor(path: Path, text: str, _: list[str]) -> list[Unit]:
    if "[program:" not in text:
        return []
    parser = _ini(text)
    sections = [section for section in parser.sections() if section.startswith("program:")]
    return [_program(path, section.partition(":")[2], dict(parser[section])) for section in sections]


def _program(path: Path, name: str, program: dict[str, str]) -> Unit:
    words = _words(program.get("command", ""))
    stops_group = program.get("stopasgroup", "false") == "true"
    replicas = program.get("numprocs", "1").partition(" ;")[0].strip()
    return Unit(
        str(path),
        "supervisor",
        name,
        " ".join(words),
        stop_s=_seconds(program.get("stopwaitsecs"), SUPERVISOR_STOP_S),
        kill_mode="group" if stops_group else "process",
        is_restarted=program.get("autorestart", "unexpected") != "false",
        replicas=int(replicas) if replicas.isdecimal() else 1,  # %(ENV_N)s is known only where supervisor runs
        is_in_shell=_is_in_shell(words),
        kills_group=stops_group or program.get("killasgroup", "false") == "true",
    )


def _procfile(path: Path, text: str, _: list[str]) -> list[Unit]:
    lines = [line.partition(":") for line in text.splitlines() if not line.startswith("#")]
    return [
        Unit(str(path), "procfile", name.strip(), command.strip(), stop_s=KUBERNETES_STOP_S)
        for name, colon, command in lines
        if colon
    ]


def _dockerfile(path: Path, text: str, _: list[str]) -> list[Unit]:
    text = re.sub(r"\\\n\s*", " ", text)
    units = []
    for kind, command in re.findall(r"^(CMD|ENTRYPOINT)\s+(.+)$", text, re.MULTILINE):
        is_list = command.startswith("[")
        words = json.loads(command) if is_list else _words(command)
        in_shell = _is_in_shell(words) if is_list else words[:1] != ["exec"]
        units.append(Unit(str(path), "dockerfile", kind, " ".join(words), is_in_shell=in_shell))
    return units


def _kubernetes(path: Path, text: str, unread: list[str]) -> list[Unit]:
    units: list[Unit] = []
    for number, document in _documents_in(path, text, unread):
        try:
            units += _pods(path, document)
        except Exception as error:  # noqa: BLE001 (the next document may be right)
            unread.append(f"{path}, document {number}, cannot be read: {type(error).__name__}")
    return units


def _pods(path: Path, document: dict[str, Any]) -> list[Unit]:
    units = []
    pod = document["spec"]["template"]["spec"]
    stop_s, replicas = pod.get("terminationGracePeriodSeconds"), document["spec"].get("replicas")
    for container in pod.get("containers") or ():
        words = [*_words_of(container.get("command")), *_words_of(container.get("args"))]
        unit = Unit(
            str(path),
            "kubernetes",
            f"{_text_of(document['metadata']['name'])}/{_text_of(container['name'])}",
            " ".join(words),
            stop_s=KUBERNETES_STOP_S if stop_s is None else float(stop_s),
            replicas=1 if replicas is None else int(replicas),
            is_in_shell=_is_in_shell(words),
            has_liveness="livenessProbe" in container,
        )
        units.append(unit)
    return units


def _documents_in(path: Path, text: str, unread: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each document that starts pods, with its place in the file, counted from 1. Reasons go to *unread*."""
    if not _INTERESTING.search(text):
        return
    if yaml is None:
        unread.append(f"{path}: it needs pip install 'mirepoix[doctor]'")
        return
    parts = [part for part in _NEXT_DOCUMENT.split(_DIRECTIVE.sub("", text)) if part.strip()]
    for number, part in enumerate(parts, start=1):
        if not _INTERESTING.search(part):
            continue
        try:
            found = list(_starting_pods(_parsed(part)))
        except Exception as error:  # noqa: BLE001 (a value that is no date, nesting without an end)
            if "{{" not in part:
                unread.append(f"{path}, document {number}, cannot be read: {type(error).__name__}")
            continue
        for document in found:
            yield number, document


def _words_of(value: Any) -> list[str]:
    """Return the words of a command or its arguments. Anything that is no text or integer is left out."""
    return [str(word) for word in value if isinstance(word, str | int)] if isinstance(value, list) else []


def _text_of(value: Any) -> str:
    """Return a name. A list or an object, which aliases can make endless, is only a question mark."""
    return str(value) if isinstance(value, str | int) else "?"


def _starting_pods(document: Any) -> Iterator[dict[str, Any]]:
    waiting, seen = [document], set()
    while waiting:
        found = waiting.pop(0)
        if not isinstance(found, dict) or id(found) in seen:
            continue
        seen.add(id(found))
        if found.get("kind") == "List":
            waiting += found.get("items") or ()
        elif found.get("kind") in _KINDS:
            yield found


def _parsed(text: str) -> Any:
    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """The safe loader, which stops where merged aliases grow without an end."""

        def flatten_mapping(self, node: Any) -> None:
            super().flatten_mapping(node)
            if len(node.value) > _MOST_MERGED:
                raise yaml.YAMLError

    return yaml.load(text, Loader)


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _is_in_shell(words: list[str]) -> bool:
    """Return whether a shell stays the parent of the command. ``sh -c 'exec …'`` does not."""
    if len(words) < 3 or Path(words[0]).name not in ("sh", "bash", "dash") or "-c" not in words[:-1]:  # noqa: PLR2004
        return False
    script = words[words.index("-c") + 1]
    return not re.search(r"(^|[;&|]\s*|\s)exec\s", script)


def _seconds(text: str | None, default: float) -> float | None:
    if text is None:
        return default
    if text.strip() == "infinity":
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text)) or None
