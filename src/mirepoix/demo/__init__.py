"""``mirepoix demo``: run a small shop, kill its workers, and audit the result."""
