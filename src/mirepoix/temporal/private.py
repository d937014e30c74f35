"""What we take from inside Temporal's library, which promises none of it, with the reason."""

from __future__ import annotations

from typing import Any


def definition_classes(workflow: Any) -> tuple[Any, Any]:
    """The classes that know the name of a workflow by its run method, and of a signal by its function.

    *workflow* is the module ``temporalio.workflow``. Temporal's own client asks them; there is no public question.
    """
    return workflow._Definition, workflow._SignalDefinition
