# The two commands: `make grid` and `make test`. Both make the environment if it is not there. `make bench` measures.
PYTHON ?= python3
PY := .venv/bin/python

.PHONY: grid test bench lint clean

grid: .venv/ready
	$(PY) -m tlfw -m +experiment=quickstart_grid

test: lint
	$(PY) -m pytest -n auto --dist worksteal

bench: .venv/ready
	$(PY) -m tests.benchmarks.plan
	$(PY) -m tests.benchmarks.report

lint: .venv/ready
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv dist .pytest_cache .mypy_cache .ruff_cache
