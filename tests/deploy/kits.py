"""The files under deploy/, and the lines that they start processes with."""

from __future__ import annotations

import json
import re
import socket
import sys
from pathlib import Path
from typing import Any

import yaml

KITS = Path(__file__).parents[2] / "deploy"
SYSTEMD, HEROKU, DOCKER = KITS / "systemd", KITS / "heroku", KITS / "docker"
WORKER, METRICS = SYSTEMD / "shop-worker@.service", SYSTEMD / "shop-metrics.service"


def unit(path: Path, folder: Path, instance: str = "web") -> dict[str, list[str]]:
    """The settings of a unit's service, with its specifiers replaced and its folders in *folder*."""
    found: dict[str, list[str]] = {}
    text = path.read_text().partition("[Service]")[2]
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(name, []).append(
            moved(value, folder).replace("%i", instance).replace("%H", socket.gethostname())
        )
    return found


def moved(text: str, folder: Path) -> str:
    """*text* with the folders of a host in *folder*, and the environment of this Python."""
    text = text.replace("/srv/shop/.venv", sys.prefix)
    for place in ("/srv/shop", "/etc/shop", "/run/shop"):
        text = text.replace(place, str(folder))
    return text


def procfile() -> dict[str, str]:
    """The lines of the Procfile, by their types of process."""
    lines = (line.partition(":") for line in (HEROKU / "Procfile").read_text().splitlines())
    return {name: line.strip() for name, _, line in lines}


def manifests() -> dict[str, dict[str, Any]]:
    """The rendered manifests of Kubernetes, by kind and name."""
    documents = yaml.safe_load_all((KITS / "kubernetes/shop.yaml").read_text())
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in documents}


def container(name: str) -> dict[str, Any]:
    """The only container of a Deployment or a Job."""
    (found,) = manifests()[name]["spec"]["template"]["spec"]["containers"]
    return found


def command(container: dict[str, Any], **fields: str) -> list[str]:
    """The arguments of a container, with the variables that the kubelet fills in."""
    return [re.sub(r"\$\((\w+)\)", lambda found: fields[found[1]], word) for word in container["args"]]


def instruction(name: str) -> list[str]:
    """The list of words after the last instruction of that name in the Dockerfile."""
    found = re.findall(rf"^{name}\b.*?(\[.*\])$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    return json.loads(found[-1])
