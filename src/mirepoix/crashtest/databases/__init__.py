"""The state of a database, by the library that reaches it."""
