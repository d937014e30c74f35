"""Databases and callers' transactions. Each library has its own file."""
