"""Find the files by which a project is deployed, and read how each starts and stops its processes."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mirepoix.doctor.facts import Unit

MOST_FILES = 2_000
SKIPPED = frozenset({".git", ".venv", "venv", "node_modules", "__pycache__", "build", "dist", "site-packages"})
SYSTEMD_STOP_S = 90.0
"""``DefaultTimeoutStopSec``: systemd-system.conf(5)."""
SUPERVISOR_STOP_S = 10.0
"""``stopwaitsecs``: supervisord.org, configuration of [program:x]."""
KUBERNETES_STOP_S = 30.0
"""``terminationGracePeriodSeconds``, and the time of a Heroku dyno."""
_DURATION = re.compile(r"([\d.]+)\s*(ms|s|sec|m|min|h|hr)?\s*")
_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hr": 3600, None: 1, "": 1}


def found_in(places: Iterable[Path]) -> list[Unit]:
    """Return the processes that the files in *places* (files or folders) start."""
    units: list[Unit] = []
    for path in _files(places):
        for read in (_systemd, _supervisor, _procfile, _dockerfile, _kubernetes):
            try:
                units += read(path)
            except (OSError, ValueError, LookupError, configparser.Error, AttributeError, TypeError):
                continue  # a template, or a file of another kind with the same name
    return units


def _files(places: Iterable[Path]) -> Iterator[Path]:
    left = MOST_FILES
    waiting = list(places)
    while waiting and left:
        place = waiting.pop()
        if place.is_dir():
            waiting += sorted(
                child for child in place.iterdir() if child.name not in SKIPPED and not child.is_symlink()
            )
        elif place.is_file():
            left -= 1
            yield place


def _ini(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#", ";"), inline_comment_prefixes=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(re.sub(r"\\\n\s*", " ", path.read_text()))
    return parser


def _systemd(path: Path) -> Iterator[Unit]:
    if path.suffix != ".service":
        return
    service = dict(_ini(path)["Service"])
    words = _words(service.get("ExecStart", "").lstrip("@-:+!"))
    yield Unit(
        str(path),
        "systemd",
        path.stem,
        " ".join(words),
        stop_s=_seconds(service.get("TimeoutStopSec", service.get("TimeoutSec")), SYSTEMD_STOP_S),
        kill_mode=service.get("KillMode", "control-group"),
        is_restarted=service.get("Restart", "no") in ("always", "on-failure"),
        is_in_shell=_is_in_shell(words),
    )


def _supervisor(path: Path) -> Iterator[Unit]:
    if path.suffix not in (".conf", ".ini") or "[program:" not in path.read_text():
        return
    parser = _ini(path)
    for section in parser.sections():
        kind, _, name = section.partition(":")
        if kind != "program":
            continue
        program = dict(parser[section])
        words = _words(program.get("command", ""))
        stops_group = program.get("stopasgroup", "false") == "true"
        yield Unit(
            str(path),
            "supervisor",
            name,
            " ".join(words),
            stop_s=_seconds(program.get("stopwaitsecs"), SUPERVISOR_STOP_S),
            kill_mode="group" if stops_group else "process",
            is_restarted=program.get("autorestart", "unexpected") != "false",
            replicas=int(program.get("numprocs", "1")),
            is_in_shell=_is_in_shell(words),
            kills_group=stops_group or program.get("killasgroup", "false") == "true",
        )


def _procfile(path: Path) -> Iterator[Unit]:
    if path.name != "Procfile":
        return
    for line in path.read_text().splitlines():
        name, colon, command = line.partition(":")
        if colon and not name.startswith("#"):
            yield Unit(str(path), "procfile", name.strip(), command.strip(), stop_s=KUBERNETES_STOP_S)


def _dockerfile(path: Path) -> Iterator[Unit]:
    if not path.name.startswith("Dockerfile") and path.suffix != ".dockerfile":
        return
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    for kind, command in re.findall(r"^(CMD|ENTRYPOINT)\s+(.+)$", text, re.MULTILINE):
        is_list = command.startswith("[")
        words = json.loads(command) if is_list else _words(command)
        in_shell = _is_in_shell(words) if is_list else words[:1] != ["exec"]
        yield Unit(str(path), "dockerfile", kind, " ".join(words), is_in_shell=in_shell)


def _kubernetes(path: Path) -> Iterator[Unit]:
    if path.suffix not in (".yaml", ".yml") or "kind:" not in path.read_text():
        return
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        return
    try:
        documents = [document for document in yaml.safe_load_all(path.read_text()) if isinstance(document, dict)]
    except yaml.YAMLError:
        return  # a template of Helm is no YAML
    for document in documents:
        if document.get("kind") in ("Deployment", "StatefulSet", "DaemonSet"):
            yield from _pods(path, document)


def _pods(path: Path, document: dict[str, Any]) -> Iterator[Unit]:
    pod = document["spec"]["template"]["spec"]
    for container in pod.get("containers", ()):
        words = [str(word) for word in (*container.get("command", ()), *container.get("args", ()))]
        yield Unit(
            str(path),
            "kubernetes",
            f"{document['metadata']['name']}/{container['name']}",
            " ".join(words),
            stop_s=float(pod.get("terminationGracePeriodSeconds", KUBERNETES_STOP_S)),
            replicas=int(document["spec"].get("replicas", 1)),
            is_in_shell=_is_in_shell(words),
            has_liveness="livenessProbe" in container,
        )


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
