"""The direct pool: processes that get their tasks in batches, straight from the leases of their worker.

Celery's own pool of processes gets each task as a message, a request object and a job of its own. This pool gives a
process the rows of the ledger, as many as it runs in a few milliseconds, and the process makes the request.
"""
