"""The state of a database, in a file for each library that connects to it."""
