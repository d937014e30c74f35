"""A database engine for Django before 5.1, which has no ``transaction_mode``."""
