"""Fault points by library, each in the file named for it. `installed` puts them in, and takes them out again."""
