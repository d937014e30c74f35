"""What runs beside the work: the holder of a worker's leases and the maintenance of the ledger."""
