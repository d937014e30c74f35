"""A small shop whose workers are killed while it works, with an audit at the end: ``mirepoix demo``."""
