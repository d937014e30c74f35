"""Collect the facts about one app, and let every rule look at them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from mirepoix.doctor import broker, configuration, database, deployment, servers, units
from mirepoix.doctor.facts import Facts
from mirepoix.doctor.rules import RULES, Finding, Severity, found_by

GROUPS = (configuration, servers, deployment)
"""The modules with rules. Importing them fills `RULES`."""

_ORDER = list(Severity)


def load(app: Any) -> None:
    """Import the app's modules and register its tasks. Its own errors are raised."""
    app.loader.import_default_modules()
    app.finalize()


def facts_of(app: Any, places: Iterable[Path] = (), *, asks_servers: bool = True) -> Facts:
    """Collect what is known about *app*, which `load` has loaded. With *asks_servers* its broker and ledger are asked.

    A server, a file or a setting that cannot be read becomes a fact, not an error.
    """
    installation = getattr(app, "mirepoix", None)
    facts = Facts(app, installation, None if installation is None else installation.settings)
    reading = units.found_in(places)
    facts.units, facts.unread = reading.units, reading.unread
    if asks_servers:
        if facts.broker_kind not in (None, "memory"):
            facts.broker = broker.examined(app)
        if installation is not None:
            facts.database = database.examined(installation.source)
    return facts


def findings(facts: Facts, ignored: Collection[str] = ()) -> list[Finding]:
    """Return what the rules find, the worst first."""
    found = [finding for rule in RULES.values() if rule.code not in ignored for finding in found_by(rule, facts)]
    return sorted(found, key=lambda finding: (_ORDER.index(finding.severity), finding.code, finding.evidence))
