"""The threads beside a worker's tasks: its leases, its heartbeat and the maintenance of the ledger."""
