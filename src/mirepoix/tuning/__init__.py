"""Say what to change in a fleet of workers, from what the ledger recorded, and what each change would do."""
