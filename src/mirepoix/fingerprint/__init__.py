"""Recognise failures with the same cause from the text of their tracebacks."""
