"""The key of a task instance's call: the same in every try of Airflow, and in no other task instance.

Airflow gives each try a new id. So the key holds the ids of the DAG, the run and the task, the map index, a hash of the
call, and how often a person has cleared the task instance before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kombu.utils.json import dumps

from mirepoix.celery.submit import KEY_LIMIT


@dataclass(frozen=True, slots=True)
class Place:
    """One task instance of Airflow."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    tried_at_clear: int = 0
    """How many tries there were when a person last cleared it; 0 if nobody has."""

    def key(self, call: str) -> str:
        """Return the key of the call with the hash *call*."""
        parts = ["airflow", self.dag_id, self.run_id, self.task_id, str(self.map_index), call]
        cleared = [f"cleared{self.tried_at_clear}"] if self.tried_at_clear else []
        return fitting("/".join(parts + cleared))

    def before(self, tried: int) -> Place:
        """Return the same task instance when it was last cleared after *tried* tries, or not yet if that is 0."""
        return replace(self, tried_at_clear=tried)


def hash_of(task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return a hash that is the same for equal calls."""
    text = json.dumps(json.loads(dumps([task, list(args), dict(kwargs)])), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def fitting(key: str) -> str:
    """Return *key*, or its hash if a key may not be so long or have such characters."""
    if len(key) <= KEY_LIMIT and key.isprintable() and key == key.strip():
        return key
    return f"airflow/sha256/{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"
