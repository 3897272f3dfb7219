# Every command a contributor needs. `make demo` and `make test` are the two to know.
VENV := .venv
WORKERS ?= 3
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed
CREW_VENV := .venv-crewai
CREW_STAMP := $(CREW_VENV)/.installed
# What CrewAI installs and the tests of our part never load: two thirds of a gigabyte.
CREW_UNUSED := cel-python crewai-cli google-re2 hf-xet huggingface-hub instructor kubernetes lance-namespace \
  lance-namespace-urllib3-client lancedb mcp onnxruntime openpyxl pdfminer-six pdfplumber pendulum pillow pyarrow \
  pypdfium2 textual tokenizers uv watchfiles

WEB := oracle_api/console/web

.PHONY: demo dev test docs lint format lock typescript console clean bench bench-latency tools

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

# Three processes on two cores: the tests of real engines wait more than they compute. In the order of the folders:
# those of a file are few and long in fault and integration, so they must not come last.
test: $(STAMP) $(if $(ARGS),,$(CREW_STAMP)) ## every test; ARGS are passed to pytest
	$(PY) -m pytest -m "not bench" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

docs: $(STAMP) ## the documentation site, into .pactstream/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs --quiet build --strict $(ARGS)

lint: $(STAMP) ## formatting, style, types, layers
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache
	@if test -d $(WEB)/node_modules; then cd $(WEB) && npm run --silent check; fi

format: $(STAMP)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lock: ## refresh the locks (hashes, no index addresses)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-package pactstream --quiet --custom-compile-command "make lock" \
	  --output-file requirements-dev.lock
	uv pip compile pyproject.toml --extra bench --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-package pactstream --quiet --custom-compile-command "make lock" \
	  --output-file requirements-bench.lock
	uv pip compile pyproject.toml --extra services --extra anomaly --extra tracing --extra timestamps \
	  --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-package pactstream \
	  --quiet --custom-compile-command "make lock" --output-file requirements.lock
	printf "%s; sys_platform == 'never'\n" $(CREW_UNUSED) > $(VENV)/unused.txt
	printf 'jinja2\npytest>=8.3\npytest-timeout>=2.3\n' | uv pip compile pyproject.toml - --extra crewai \
	  --override $(VENV)/unused.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-package pactstream --quiet --custom-compile-command "make lock" --output-file requirements-crewai.lock
	printf 'hatchling>=1.27\n' | uv pip compile - --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --quiet --custom-compile-command "make lock" --output-file requirements-build.lock

# The peers that are compared with pin other versions of the same clients.
$(BENCH_STAMP): requirements-bench.lock
	test -x $(BENCH_VENV)/bin/python || python3 -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

# CrewAI pins older versions of what the others need. `make test` without ARGS makes this, for tests/contract/test_crewai.py.
$(CREW_STAMP): requirements-crewai.lock
	test -x $(CREW_VENV)/bin/python || python3 -m venv $(CREW_VENV)
	$(CREW_VENV)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes \
	  -r requirements-crewai.lock
	@touch $@

bench: $(STAMP) $(BENCH_STAMP) ## every bench, and a table at the end; make bench ARGS="pacts worker" for some
	$(PY) -m tests.bench $(ARGS)

bench-latency: $(STAMP) ## acknowledgement to trust report, p50 and p99
	$(PY) -m tests.bench.latency $(ARGS)

tools: $(addprefix $(VENV)/bin/,helm docker-compose otelcol) ## helm, compose's client and a collector, from source, for their tests

$(VENV)/bin/helm: | $(STAMP)
	GOBIN=$(abspath $(VENV)/bin) go install helm.sh/helm/v3/cmd/helm@v3.19.0

# Its `go.mod` replaces modules, which `go install` refuses.
$(VENV)/bin/docker-compose: | $(STAMP)
	rm -rf .pactstream/compose && mkdir -p .pactstream
	cp -r "$$(go mod download -json github.com/docker/compose/v2@v2.40.3 | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')" .pactstream/compose
	chmod -R u+w .pactstream/compose
	cd .pactstream/compose && go build -o $(abspath $@) ./cmd
	rm -rf .pactstream/compose

$(VENV)/bin/otelcol: tests/bench/collector.yaml | $(STAMP)
	GOBIN=$(abspath $(VENV)/bin) go install go.opentelemetry.io/collector/cmd/builder@v0.155.0
	CGO_ENABLED=0 $(VENV)/bin/builder --config tests/bench/collector.yaml
	mv .pactstream/otelcol/otelcol $@ && rm -rf .pactstream/otelcol

typescript: ## the TypeScript SDK, from sdk/typescript/src to what is committed; needs Node 20
	cd sdk/typescript && npm ci --no-audit --no-fund && npm run --silent build

console: ## the console's pages, from oracle_api/console/web to what is committed and shipped; needs Node 20
	cd $(WEB) && npm ci --no-audit --no-fund && npm run --silent check && npm run --silent build

clean:
	rm -rf $(WEB)/node_modules sdk/typescript/node_modules $(VENV) $(BENCH_VENV) $(CREW_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .pactstream
