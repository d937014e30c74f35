"""What runs beside the work: a worker's leases, its heartbeat and the maintenance of the ledger."""
