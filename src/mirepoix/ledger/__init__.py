"""What can be done with the ledger: functions over a transaction that is handed in."""
