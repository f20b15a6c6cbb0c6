# `make demo`, `make torture` and `make test` need Python 3.11 or newer, and an index to install packages from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test torture lint data bench clean

demo: data/python-docs.txt $(INSTALLED)
	$(BIN)/charlstm train data/python-docs.txt --time 2m --force
	$(BIN)/charlstm sample python-docs --length 500 --seed 1
	$(BIN)/charlstm eval python-docs

test: $(INSTALLED)
	$(BIN)/python -m pytest

torture: $(INSTALLED)
	CHARLSTM_TORTURE=1 $(BIN)/python -m pytest tests/reliability

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

data: data/python-docs.txt

data/python-docs.txt: data/make.py
	$(PYTHON) data/make.py

bench: $(INSTALLED)
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/sampling.py
	$(BIN)/python benchmarks/startup.py

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "charlstm needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
