"""Test whether a task is safe to retry: crash it at every point where it could die, deliver it again, and compare.

::

    points       the durable actions of a task, and the crash that a test plans there
    hooks/       patches of libraries that report such actions
    journal      the effects outside the database
    databases/   reading and restoring the state of a database
    deliver      one delivery, through Celery's own tracer
    normalise    masking what may differ between two equal runs
    explore      clean runs, then one planned crash after another, each followed by a redelivery
    verdict      turning differences into findings, one for each cause
    report       findings as text

Nothing here is imported before a test uses the fixture ``crashpoints``.
"""
