"""The rules, as code: each check yields what it found in one function."""
