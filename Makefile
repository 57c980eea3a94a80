# The two commands: `make grid` and `make test`. Both make the environment if it is not there. `make docs` builds the
# pages into build/docs, `make bench` measures.
PYTHON ?= python3
# The versions to install; empty: the newest.
CONSTRAINTS ?= constraints.txt
PY := .venv/bin/python

.PHONY: grid test docs docs-links wheel bench lint clean

grid: .venv/ready
	$(PY) -m tlfw -m +experiment=quickstart_grid

test: lint
	$(PY) -m pytest -n auto --dist worksteal

# Every warning is an error, and so is every link that leads nowhere inside the pages. Needs no network.
docs: .venv/ready
	$(PY) -m sphinx -n -W --keep-going --quiet --builder html docs build/docs

# Links to other sites. Needs a network.
docs-links: .venv/ready
	$(PY) -m sphinx --quiet --builder linkcheck docs build/docs-links

wheel: .venv/ready
	$(PY) -m hatchling build --target wheel

bench: .venv/ready
	$(PY) -m benchmarks
	$(PY) -m benchmarks.plan_a_sweep
	$(PY) -m benchmarks.report_a_sweep
	$(PY) -m benchmarks.look_at_files
	$(PY) -m benchmarks.augment_a_batch

lint: .venv/ready
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
