# make demo   runs the main job          make test   runs all tests, and the main job on newer Slurms
# Each does its own whole set-up; both can be repeated.

SHELL := /bin/bash
# Debian's own interpreter first: the test cluster's ordinary users must reach it too.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
BIN := .venv/bin

.PHONY: help demo test test-all check prose docs dist bench soak cluster pictures packages clean

help:
	@echo "make demo     run Jupyter in a job (without Slurm: on this machine) and say how to look at it"
	@echo "make test     run all tests; as root on Debian on a real Slurm cluster in namespaces"
	@echo "make test-all the same on each Slurm release, without and with accounting; an hour"
	@echo "make check    lint, types, shellcheck, documentation, English"
	@echo "make prose    check only the English of docs, help, messages and docstrings"
	@echo "make docs     build the documentation and the man page into build/docs"
	@echo "make dist     build wheel and sdist, and try the wheel in a clean environment"
	@echo "make bench    measure, against what can be expected"
	@echo "make soak     end 200 sessions in every way there is, and count what is lost or left"
	@echo "make cluster  keep a real Slurm cluster up and enter its login node"

demo: .venv/installed
	$(BIN)/python tests/demo.py

test: packages .venv/developing
	$(BIN)/python -m tests.matrix

test-all: packages .venv/developing
	$(BIN)/python -m tests.matrix --all

check: docs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tests.prose
	$(BIN)/shellcheck .ci/run tests/debian-packages slurm_nb/kit/functions.sh slurm_nb/kit/relay.sh
	for ui in notebook lab; do $(BIN)/slurm-nb submit --dry-run --ui $$ui | $(BIN)/shellcheck - || exit; done

prose: .venv/developing
	$(BIN)/python -m tests.prose

docs: .venv/developing
	rm -rf build/docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --doctree-dir build/doctrees docs build/docs
	mkdir build/docs/man
	$(BIN)/python docs/man_page.py >build/docs/man/slurm-nb.1

dist: .venv/developing
	rm -rf dist build/clean
	$(BIN)/python -m build
	$(PYTHON) -m venv build/clean
	build/clean/bin/python -m pip install --quiet dist/*.whl
	cd / && "$(CURDIR)/build/clean/bin/slurm-nb" --version
	cd / && "$(CURDIR)/build/clean/bin/slurm-nb" submit --dry-run | bash -n

bench: packages .venv/developing
	$(BIN)/python -m tests.bench

soak: packages .venv/developing
	$(BIN)/python -m tests.soak

cluster: packages .venv/developing
	$(BIN)/python -m tests.cluster down 2>/dev/null || true
	rm -rf build/wheel
	$(BIN)/python -m build --wheel --outdir build/wheel
	$(BIN)/python -m tests.cluster up --wheel build/wheel/*.whl
	$(BIN)/python -m tests.cluster shell login alice || true
	$(BIN)/python -m tests.cluster down

# The README's pictures, from the browser tests.
pictures: packages .venv/developing
	SLURM_NB_PICTURES=docs/images $(BIN)/python -m pytest tests/e2e/test_browser.py

packages:
	tests/debian-packages test

.venv/bin/python:
	PYTHON='$(PYTHON)' tests/debian-packages venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/developing: .venv/installed
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache
