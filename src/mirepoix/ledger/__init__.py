"""All operations on the ledger: functions that take a transaction of the caller."""
