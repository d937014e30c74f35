"""What runs beside the work: the holder of a worker's leases and the keeper that looks after them."""
