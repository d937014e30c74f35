"""Read the ledger for people and programs: what there is, what happened to one task, and how it all stands."""
