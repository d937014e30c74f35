"""Is a task safe to retry? Kill it at every point where it could die, deliver it again, and compare.

::

    points       what a task does that outlives its process, and the death that a test plans there
    hooks/       where libraries do such things
    journal      what the world outside of the database was told
    databases/   the state of a database: read it, put it back
    deliver      one delivery, through Celery's own tracer
    normalise    what may differ between two runs that did the same
    explore      clean runs, then one planned death after another, each followed by a redelivery
    verdict      from differences to findings, one for each cause
    report       findings as text

Nothing here is imported before a test uses the fixture ``crashpoints``.
"""
