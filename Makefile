.DEFAULT_GOAL := help
.PHONY: help test check demo bench

help:  ## List the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

test:  ## Set up .venv and run all tests, as CI does
	@scripts/test

check:  ## The everyday checks: ruff, mypy and the quick tests
	@scripts/check

demo:  ## Run a small shop on SQLite, kill its workers, audit what became of every order
	@scripts/demo

bench:  ## Measure, and print tables (see benchmarks/)
	@scripts/bench
