"""The code of the rules. Each check yields its findings in one function."""
