# make demo   install the package, run the whole app on an example made on the spot, say how far off it is
# make test   install what the tests need, then lint, types and tests
# make lint   lint and types alone, of the package, workflows, experiments, examples and tests
# make clean  remove all that these have made
#
# .ci/run runs make test and the slow tests of the whole app; CONTRIBUTING.md tells more.
#
# Everything lands in .venv and demo. PYTHON chooses the interpreter (3.11 or newer), PIP_ARGS goes to pip install, e.g.
# PIP_ARGS=--index-url=URL, or --extra-index-url=URL for a torch without CUDA (see docs/install.md).

PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: demo test lint clean help

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'bidsreg needs Python 3.11 or newer; choose one with make PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e .
	@touch $@

$(VENV)/.tested: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[test]'
	@# its own requirements are older than ours, and it works with ours
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt --no-deps digital-diffeomorphism
	@touch $@ $(VENV)/.installed

$(DEMO)/bids/dataset_description.json: bidsreg/app/example.py | $(VENV)/.installed
	$(BIN)/python -m bidsreg.app.example $(DEMO)/bids

demo: $(VENV)/.installed $(DEMO)/bids/dataset_description.json
	$(BIN)/bidsreg $(DEMO)/bids $(DEMO)/derivatives participant -w $(DEMO)/work --skip-bids-validation
	$(BIN)/python -m bidsreg.app.example --check $(DEMO)/bids $(DEMO)/derivatives

lint: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 3 --dist worksteal

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
