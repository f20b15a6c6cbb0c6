# `make demo`, `make torture` and `make test` need Python 3.11 or newer, and an index to install packages from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
OLDEST := .venv-oldest
# What another processor has: no bf16, no AVX-512.
ELSEWHERE := ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 OPENBLAS_CORETYPE=Haswell
# The tests of what another processor, or a single core, can change.
COMPUTING := tests/network tests/training tests/measure tests/test_api.py tests/test_sample.py
THREADED := tests/network/test_blas.py tests/network/test_device.py tests/network/test_threads.py tests/training
# The first of the cores that this shell may use.
CORE := $$(taskset -cp $$$$ | sed 's/.*: //; s/[-,].*//')

# Two processes, each with whole files of tests, because a file's tests share what they have trained.
TESTS := $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: demo test test-elsewhere test-avx2 test-one-core test-oldest torture lint data docs page bench clean

demo: data/python-docs.txt $(INSTALLED)
	$(BIN)/charlstm train data/python-docs.txt --time 2m --force
	$(BIN)/charlstm sample python-docs --length 500 --seed 1
	$(BIN)/charlstm eval python-docs

test: $(INSTALLED)
	$(TESTS)

# Those of them that are fast, as on other machines: a processor without bf16, and a single core. Both at once.
test-elsewhere: $(INSTALLED)
	$(MAKE) --no-print-directory -j 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) test-avx2 test-one-core

test-avx2: $(INSTALLED)
	$(ELSEWHERE) $(TESTS) -m 'not slow' $(COMPUTING)

test-one-core: $(INSTALLED)
	@if command -v taskset >/dev/null; then \
		echo "taskset -c $(CORE) $(BIN)/python -m pytest -m 'not slow' $(THREADED)"; \
		taskset -c $(CORE) $(BIN)/python -m pytest -m 'not slow' $(THREADED); \
	else \
		echo "no taskset here: the tests are not run on a single core" >&2; \
	fi

# The fast tests with the oldest version of everything that pyproject.toml allows, torch too: several GB are installed.
test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -c 'import numpy, torch; print(f"torch {torch.__version__}, numpy {numpy.__version__}")'
	$(OLDEST)/bin/python -m pytest -m 'not slow'

$(OLDEST)/.installed: pyproject.toml .ci/oldest.py
	$(PYTHON) .ci/oldest.py >/dev/null
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python .ci/oldest.py >$(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c $(OLDEST)/constraints.txt -e '.[dev]'
	touch $@

torture: $(INSTALLED)
	CHARLSTM_TORTURE=1 $(BIN)/python -m pytest tests/reliability tests/compress tests/page tests/measure/test_lines.py tests/test_docs_inside.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python .ci/typescript.py

data: data/python-docs.txt

data/python-docs.txt: data/make.py
	$(PYTHON) data/make.py

# The tables of docs/options.md.
docs: $(INSTALLED)
	$(BIN)/python docs/make.py

# The pictures of the page in the README, which need Chromium.
page: $(INSTALLED)
	$(BIN)/python docs/screenshots.py

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
	rm -rf $(VENV) $(OLDEST) .pytest_cache .mypy_cache .ruff_cache .hypothesis
