"""Databases and callers' transactions, one library a file."""
