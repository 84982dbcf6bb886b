# Everything starts here: `make demo` to see it run, `make test` to check it.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
# Half of a test's time is waiting: for a server to start, to stop, to be killed. Tests that share a
# fixture stay together, and long ones come first (tests/conftest.py).
PARALLEL := -n 3 --dist loadgroup --no-loadscope-reorder
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp per lock file: installing again costs nothing until the lock changes.
$(VENV)/%.stamp: requirements/%.txt pyproject.toml | $(BIN)/python
	@echo "installing requirements/$*.txt ..."
	@$(PIP) install --require-hashes --requirement $<
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# DuckDB's own extensions are built for one engine version, which must not come beside the service's.
.venv-bench-peers/stamp: requirements/bench-peers.txt | $(BIN)/python
	@echo "installing requirements/bench-peers.txt ..."
	@rm -rf .venv-bench-peers
	@$(PIP) install --no-deps --require-hashes --target .venv-bench-peers --requirement $<
	@touch $@

.PHONY: install
install: $(VENV)/run.stamp ## install the service into .venv

.PHONY: demo
demo: install ## load real captures and serve them on 127.0.0.1:8000 (PORT=8001 for another port)
	@$(BIN)/chronoduck demo --port $(PORT)

.PHONY: what-tests-need
what-tests-need:
	@$(PYTHON) -m tests.programs

.PHONY: test
test: what-tests-need $(VENV)/dev.stamp ## install what tests need and run everything; says first how long it takes
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

.PHONY: quick
quick: $(VENV)/dev.stamp ## run the fast tests only
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(ARGS)

.PHONY: lint
lint: $(VENV)/dev.stamp ## check style, types and the floors of the architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: sbom
sbom: $(VENV)/dev.stamp ## write what an installation holds, as CycloneDX, to dist/sbom.json
	@mkdir -p dist
	@$(BIN)/cyclonedx-py requirements requirements/run.txt --pyproject pyproject.toml \
		--output-reproducible --output-file dist/sbom.json
	@echo dist/sbom.json

.PHONY: audit
audit: $(VENV)/dev.stamp ## look for known vulnerabilities of what is locked (AUDIT_REQUIRED=1: or fail)
	@$(BIN)/pip-audit --requirement requirements/run.txt --disable-pip --no-deps --format json \
		--timeout 15 --progress-spinner off | $(BIN)/python .ci/audit.py

.PHONY: soak
soak: $(VENV)/dev.stamp ## run the crash, storm and replay suites at depth; hours; figures in dist/soak
	@mkdir -p dist/soak
	CHRONODUCK_FUZZ_SEQUENCES=10000 CHRONODUCK_FUZZ_OUTPUT=$(CURDIR)/dist/soak \
	CHRONODUCK_STORM_SEEDS=20 CHRONODUCK_CRASH_ROUNDS=1000 CHRONODUCK_FACTS_ROUNDS=200 \
	CHRONODUCK_SHADOW_STEPS=2000 CHRONODUCK_POWER_CUTS=1000 CHRONODUCK_INGEST_ROUNDS=500 CHRONODUCK_LENDING_ROUNDS=200 \
	CHRONODUCK_SYNC_CRASH_ROUNDS=200 CHRONODUCK_EXPORT_CRASH_ROUNDS=200 CHRONODUCK_SCOPE_SEEDS=50 CHRONODUCK_S3_FAULTS_SECONDS=300 \
	CHRONODUCK_READING_INPUTS=1000000 CHRONODUCK_FUZZ_INPUTS=1000000 CHRONODUCK_FUZZ_EXECUTED=20000 \
	CHRONODUCK_MEMORY_SECONDS=600 CHRONODUCK_WRECKER_SECONDS=3600 CHRONODUCK_HOSTILE_SHARE=1 CHRONODUCK_ANALYZER_TEXTS=20000 \
	CHRONODUCK_TABLE_NAMES=100 CHRONODUCK_ROUTE_TABLES=200 CHRONODUCK_REKEY_KILLS=100 CHRONODUCK_REKEY_ROWS=100000 \
	CHRONODUCK_MUTATED_UPLOADS=100000 CHRONODUCK_UPLOADS_OVER_HTTP=100000 CHRONODUCK_DEAF_SHARE=1 \
		$(BIN)/python -m pytest tests/fuzz tests/system/test_memory_shapes.py tests/fault/test_storms.py tests/fault/test_crash_rounds.py \
		tests/fault/test_killed_storms.py tests/fault/test_killed_rekeys.py tests/fault/test_power_loss.py tests/fault/test_ingest_crashes.py \
		tests/fault/test_s3_faults.py tests/sync/test_crashes.py tests/export/test_crashes.py tests/property/test_lending.py tests/property/test_scope_rows.py tests/unit/scopes tests/shadow tests/security/test_fuzz.py tests/security/test_reading.py \
		tests/security/test_mutated_uploads.py tests/security/test_mutated_uploads_over_http.py \
		tests/security/test_hostile_over_http.py tests/security/test_deaf_calls.py tests/property/test_analyzers.py \
		tests/property/test_table_names.py tests/property/test_values_by_every_route.py tests/wrecker $(ARGS)

.PHONY: bench
bench: $(VENV)/bench.stamp .venv-bench-peers/stamp ## measure against in-process DuckDB and Quack; writes benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-durability
bench-durability: $(VENV)/bench.stamp ## measure replica, restore and loss; an hour; writes benchmarks/DURABILITY.md
	$(BIN)/python -m benchmarks.durability $(ARGS)

.PHONY: bench-durability-cost
bench-durability-cost: $(VENV)/bench.stamp ## measure what the guarantees cost, against an older commit; half an hour; into benchmarks/DURABILITY.md
	$(BIN)/python -m benchmarks.durability_cost $(ARGS)

.PHONY: bench-runaways
bench-runaways: $(VENV)/bench.stamp ## measure what the worst statements cost others; writes benchmarks/RUNAWAYS.md
	$(BIN)/python -m benchmarks.runaways $(ARGS)

.PHONY: bench-floods
bench-floods: $(VENV)/bench.stamp ## measure what floods without a credential cost others; writes benchmarks/FLOODS.md
	$(BIN)/python -m benchmarks.floods $(ARGS)

.PHONY: bench-overhead
bench-overhead: $(VENV)/bench.stamp ## measure what statistics, metrics and query log cost; writes benchmarks/OVERHEAD.md
	$(BIN)/python -m benchmarks.overhead $(ARGS)

.PHONY: bench-operations
bench-operations: $(VENV)/bench.stamp ## measure health under load and an hour's soak; writes benchmarks/OPERATIONS.md
	$(BIN)/python -m benchmarks.operations $(ARGS)

.PHONY: bench-sync
bench-sync: $(VENV)/bench.stamp .venv-bench-peers/stamp ## measure syncs from PostgreSQL against DuckDB's extension; writes benchmarks/SYNC.md
	$(BIN)/python -m benchmarks.sync $(ARGS)

.PHONY: bench-ingest
bench-ingest: $(VENV)/bench.stamp ## measure rows in over HTTP against in-process DuckDB; writes benchmarks/INGEST.md
	$(BIN)/python -m benchmarks.ingest $(ARGS)

.PHONY: dashboard-picture
dashboard-picture: $(VENV)/bench.stamp ## draw the dashboard's panels from a real Prometheus; writes docs/images/dashboard.png
	$(BIN)/python -m benchmarks.dashboard $(ARGS)

.PHONY: lock
lock: ## renew the lock files in requirements/ (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--custom-compile-command "make lock" --extra s3 --extra encryption --extra jwt --extra otel --extra postgres --extra warc --extra meilisearch --group build \
		pyproject.toml --output-file requirements/run.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--custom-compile-command "make lock" --extra s3 --extra encryption --extra jwt --extra otel --extra postgres --extra warc --extra meilisearch --group build --group test --group lint \
		--constraint requirements/run.txt pyproject.toml --output-file requirements/dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--custom-compile-command "make lock" --extra s3 --extra encryption --extra jwt --extra otel --extra postgres --extra warc --extra meilisearch --group build --group bench \
		--constraint requirements/run.txt pyproject.toml --output-file requirements/bench.txt

.PHONY: clean
clean: ## remove .venv, caches and the demo's database
	rm -rf $(VENV) .venv-bench-peers var dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
