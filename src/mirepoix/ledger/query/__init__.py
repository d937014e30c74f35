"""Read the ledger for people and programs: find tasks, show one task, and show the state of the whole."""
