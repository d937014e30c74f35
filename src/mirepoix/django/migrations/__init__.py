"""One migration for each of the ledger's scripts."""
