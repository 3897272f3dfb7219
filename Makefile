# Every command a contributor needs. `make demo` and `make test` are the two to know.
VENV := .venv
WORKERS ?= 3
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: demo dev test lint format lock clean bench-latency

$(STAMP): requirements-dev.lock pyproject.toml
	@python3 -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Pactstream needs Python 3.11 or later; python3 is " + sys.version.split()[0])'
	test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(PY) -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## the whole pipeline on this machine; make demo ARGS=--once to check it and exit
	@$(VENV)/bin/pactstream demo $(ARGS)

dev: $(STAMP) ## Kafka and ClickHouse only
	@$(VENV)/bin/pactstream dev $(ARGS)

# Three processes on two cores: the tests of real engines wait more than they compute.
test: $(STAMP) ## every test; ARGS are passed to pytest
	$(PY) -m pytest -m "not bench" -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(STAMP) ## formatting, style, types, layers
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

format: $(STAMP)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lock: ## refresh requirements-dev.lock (hashes, no index addresses)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-package pactstream --quiet --custom-compile-command "make lock" \
	  --output-file requirements-dev.lock

bench-latency: $(STAMP) ## acknowledgement to trust report, p50 and p99
	$(PY) -m tests.bench.latency $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .pactstream
