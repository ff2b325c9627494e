# Shortcuts; `python -m pipelines` carries the exit codes. `make help` lists the targets.
SHELL := /bin/bash
PYTHON := .venv/bin/python
PORT ?= 8024
DATA ?= data/demo/portal
# One more than cores: some tests wait.
SPREAD := -n $(shell expr $$(nproc) + 1) --maxprocesses 4 --dist loadgroup --no-loadscope-reorder
export DO_NOT_TRACK := 1
export DBT_SEND_ANONYMOUS_USAGE_STATS := false

.DEFAULT_GOAL := help
.PHONY: help hooks setup demo serve spark test test-fast test-spark mutants lint portal bench bench-10m soak doctor refresh extract check build publish \
	excel report compact audit lock

help: ## list the targets
	@grep -hE '^[a-z0-9 -]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-10s %s\n", $$1, $$2}'

.venv/.installed: requirements.lock
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet uv
	.venv/bin/uv pip sync --quiet --compile-bytecode --python .venv/bin/python requirements.lock
	.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	touch $@

.venv/.spark: .venv/.installed requirements-spark.lock
	.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python -r requirements-spark.lock
	touch $@

spark: setup .venv/.spark ## install what ENGINE=spark needs beside Java
	@command -v java >/dev/null || echo "Java is missing: install it (Debian: default-jre-headless)"

setup: .venv/.installed ## install the Python and Node environments
	@$(PYTHON) -m scripts.setup_reports

demo: setup ## run everything on a demo company and show the headline figures
	@$(PYTHON) -m scripts.demo

serve: setup ## show the built site on loopback
	@$(PYTHON) -m scripts.serve

portal: setup ## serve a data directory as a Bitrix24 portal: DATA=dir PORT=n
	@$(PYTHON) -m scripts.demo_portal $(DATA) --port $(PORT)

refresh extract check build publish excel report: setup ## one refresh, or one of its steps
	@$(PYTHON) -m pipelines $@

doctor: setup ## check the portal and the settings
	@$(PYTHON) -m pipelines doctor

compact: setup ## rewrite the warehouse without raw rows that change no mart
	@$(PYTHON) -m pipelines compact

test: setup ## run all tests but those on Spark, or those of a mark: MARKS=dbt, MARKS="not site"
	$(PYTHON) -m pytest $(SPREAD) -m "$(if $(MARKS),($(MARKS)) and )not spark"

test-fast: setup ## run the tests that need no portal, warehouse or dbt
	$(PYTHON) -m pytest $(SPREAD) -m unit

test-spark: spark ## run the build on a Spark cluster on loopback; ONLY=demo: that company alone
	$(PYTHON) -m pytest -m spark $(if $(ONLY),-k $(ONLY))

mutants: setup ## break each rule once and check that a test fails; SAMPLE=60 SEED=n draws some
	$(PYTHON) -m scripts.mutation $(if $(SAMPLE),--sample $(SAMPLE) --seed $(or $(SEED),1))

hooks: setup ## install git hooks that lint commits and refuse secrets
	$(PYTHON) -m pre_commit install

lint: setup ## ruff, mypy, sqlfluff, deprecations of dbt, eslint
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	WAREHOUSE_DIR=$$(mktemp -d) $(PYTHON) -m sqlfluff lint --processes 2 dbt_project/models dbt_project/tests
	$(PYTHON) -m scripts.check_dbt
	$(PYTHON) -m sqlfluff lint --templater raw pipelines/excel/queries
	cd reports && npm run --silent lint

audit: setup ## ask the vulnerability services about every locked package
	@$(PYTHON) -m scripts.audit

lock: .venv/.installed ## renew requirements.lock from pyproject.toml
	.venv/bin/uv pip compile --quiet pyproject.toml --group demo --group dev --generate-hashes \
		--no-emit-index-url --python-version 3.11 --upgrade -o requirements.lock
	.venv/bin/uv pip compile --quiet --group pyproject.toml:spark --constraint requirements.lock --generate-hashes \
		--no-emit-index-url --python-version 3.11 --upgrade -o requirements-spark.lock

bench: export TIMEFORMAT = took %0R s
bench: setup ## measure a million leads, from the portal to the pages; less than an hour
	time $(PYTHON) -m scripts.demo_portal.benchmark
	time $(PYTHON) -m scripts.benchmark_extraction
	time $(PYTHON) -m scripts.benchmark
	time $(PYTHON) -m scripts.benchmark_samples
	time $(PYTHON) -m scripts.benchmark_pages
	time $(PYTHON) -m scripts.benchmark_pages --phone
	time $(PYTHON) -m scripts.benchmark_queries

bench-10m: setup ## build the marts of ten million leads: the demo company's raw log 550 times
	$(PYTHON) -m scripts.benchmark_engines data/demo data/ten_million --copies 550 --engine duckdb

soak: setup ## 600 random companies asked everything, 400 mixes of faults, 100 crashes; hours
	RANDOM_COMPANIES=600 RANDOM_SEED=1000 $(PYTHON) -m pytest --timeout 7200 tests/marts/test_random_companies.py
	FAULT_MIXES=400 FAULT_SEED=1000 $(PYTHON) -m pytest -n 2 --dist loadgroup tests/chaos/test_faults.py
	BUILDS=all CHANGES=100 $(PYTHON) -m pytest --timeout 7200 tests/marts/test_incremental_equals_full.py
	WITH_DBT=1 CRASHES=100 FULL_DISKS=12 $(PYTHON) -m pytest -s tests/chaos/test_crashes.py tests/chaos/test_full_disk.py
