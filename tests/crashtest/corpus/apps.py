"""The apps of the corpus: Celery alone, with late acknowledgement and without, and one with Mirepoix."""

from __future__ import annotations

from celery import Celery

import mirepoix

plain = Celery("plain", set_as_current=False)
plain.conf.task_acks_late = True
early = Celery("early", set_as_current=False)
ledger = Celery("ledger", set_as_current=False)
mirepoix.install(ledger)
