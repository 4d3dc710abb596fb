# Every target does its own set-up; the second run of any needs no network.

SHELL := /bin/bash
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
# Evaluated when used: set-up makes the link. Empty lets the bindings find or download the engine themselves.
export CHDB_LIB_DIR = $(realpath third_party/chdb/lib)
export CHDB_INCLUDE_DIR = $(if $(CHDB_LIB_DIR),$(CURDIR)/third_party/chdb,)
SEED ?= 1
# Which seeds `make simulate` runs: those asked for, else as many from SEED on as an hour allows.
SIMULATED = --seed $(SEED) $(if $(SEEDS),--seeds $(SEEDS),$(if $(filter command environment,$(firstword $(origin SEED))),--seeds 1,--seeds 1000000000 --seconds 3600))
KILLS ?= 100
FAULTS ?= 200
BIN = $(CARGO_TARGET_DIR)/release/hyperbytedb
WITH_CLICKHOUSE = $(CARGO_TARGET_DIR)/release/with-clickhouse

.DEFAULT_GOAL := help
# Every target with a text is a command, not a file.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' $(firstword $(MAKEFILE_LIST)))

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what the build needs (libclang, OpenSSL, libchdb), and compile RocksDB
	@scripts/setup.sh
	@scripts/rocksdb.sh

setup-test: setup
	@scripts/setup-test.sh

build: setup ## Build the server and the shell: target/release/hyperbytedb, hyperbytedb-cli
	cargo build --release --locked -p hyperbytedb -p hyperbytedb-cli

serve: build ## Build and start the server on 127.0.0.1:8086, data in ./data
	$(BIN) serve

test: setup-test lint unit corpus differential-short chaos-short test-fresh ## Run everything: format, lints, all tests, the InfluxDB corpus, a short differential run, a few kills, set-up on a bare machine

test-fresh: ## Run set-up in a bare root, up to a test that needs what it brings (needs root and apt)
	@scripts/test-fresh.sh

dist: build ## Make the packages in target/dist: a tarball and a Debian package, also for the Containerfile of deploy/container
	@scripts/dist.sh $(CARGO_TARGET_DIR)/release

test-container: build ## Carry out the Containerfile in a bare root and run what comes of it (needs root and apt)
	@scripts/test-fresh.sh --container $(CARGO_TARGET_DIR)/release

test-package: build ## Install, upgrade and remove the Debian package in a bare root (needs root and apt)
	@scripts/test-fresh.sh --package $(CARGO_TARGET_DIR)/release

lint: setup ## Check format and lints
	cargo fmt --all --check
	@scripts/same-features.sh
	@scripts/scale.py --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings

unit: setup-test ## Run all tests of this repository
	cargo nextest run --release --locked --workspace --no-fail-fast

conformance: corpus differential ## Run the InfluxDB corpus, and 20,000 generated queries against a real influxd

corpus: build ## Run the InfluxDB corpus of ../shared/conformance, if it is there
	scripts/conformance.py --server $(BIN)

conformance-clickhouse: build setup-test ## Run the corpus, all cases and 5,000 generated queries on two shards of one and of two ClickHouse servers each (15 minutes)
	cargo build --release --locked -p hyperbytedb-clickhouse-node
	for replicas in 1 2; do $(WITH_CLICKHOUSE) 2 $$replicas scripts/conformance.py --server $(BIN) || exit 1; done
	for replicas in 1 2; do $(WITH_CLICKHOUSE) 2 $$replicas cargo nextest run --release --locked --workspace --test cases || exit 1; done
	$(MAKE) differential-clickhouse

differential-clickhouse: build setup-test ## Compare 5,000 generated queries with a real influxd, on two shards of one and of two ClickHouse servers each (5 minutes)
	cargo build --release --locked -p hyperbytedb-clickhouse-node
	for replicas in 1 2; do $(WITH_CLICKHOUSE) 2 $$replicas scripts/differential.py --server $(BIN) --seed $(SEED) --sets 25 --queries 200 || exit 1; done

chaos-clickhouse: build ## Kill the server KILLS times (100) and the ClickHouse servers behind it every 3 seconds, under load, on two shards of one and of two servers each
	cargo build --release --locked -p hyperbytedb-clickhouse-node
	for replicas in 1 2; do KILL_EVERY_SECS=3 $(WITH_CLICKHOUSE) 2 $$replicas scripts/chaos.py --server $(BIN) --kills $(KILLS) --drop-shards 0.8 || exit 1; done

conformance-update: build ## Run the corpus and add what newly passes to the checked-in list
	scripts/conformance.py --server $(BIN) --update

cases-update: setup-test ## Rewrite the answers of all case files, from a real influxd and from our own printers
	scripts/cases-update.py

differential: build setup-test ## Compare 20,000 generated queries with a real influxd (SEED=1)
	scripts/differential.py --server $(BIN) --seed $(SEED) --sets 50 --queries 400

differential-short: build setup-test ## Compare 1,500 generated queries with a real influxd, answered from memory and by the engine
	scripts/differential.py --server $(BIN) --seed $(SEED) --sets 5 --queries 150
	HYPERBYTEDB__FLUSH__HEAD_BYTES=0 scripts/differential.py --server $(BIN) --seed $(SEED) --sets 5 --queries 150

simulate: setup ## Run the simulator for an hour (SEEDS=n: that many seeds; SEED=n: this one)
	cargo build --release --locked --workspace --bin hyperbytedb-simulator
	$(CARGO_TARGET_DIR)/release/hyperbytedb-simulator --jobs $$(nproc) $(SIMULATED)

bench: setup ## Run the micro-benchmarks of this repository
	cargo bench --locked --workspace

bench-peers: build ## Run the side-by-side benchmark of ../shared/bench, if it is there
	scripts/bench-peers.sh $(BIN)

bench-stream: build ## Measure memory and time of answers of 50M rows (10 minutes, 2 GB of disk)
	scripts/bench-stream.py --server $(BIN)

bench-deletes: build ## Measure deletes, new measurements and the stop beside a real influxd (3 minutes)
	scripts/bench-deletes.py --server $(BIN)

bench-clickhouse: build ## Compare two shards of ClickHouse servers with the embedded engine: ingest and queries (8 minutes)
	cargo build --release --locked -p hyperbytedb-clickhouse-node
	scripts/bench-engine.py --server $(BIN) --save $(CARGO_TARGET_DIR)/bench-embedded.json
	$(WITH_CLICKHOUSE) 2 1 scripts/bench-engine.py --server $(BIN) --against $(CARGO_TARGET_DIR)/bench-embedded.json

scale: ## Compute the tables of docs/scale.md from docs/scale-costs.json
	scripts/scale.py --write

bench-history: build ## Measure queries of one host's day in 90 days that are not in memory, beside a real influxd (6 minutes)
	scripts/bench-history.py --server $(BIN)

bench-retention: build ## Drop 30 of 90 days, and count points while they expire (1 minute)
	scripts/bench-retention.py --server $(BIN)

bench-backup: build ## Back up 10M points under load, restore them and compare every series (2 minutes, 2 GB of disk)
	scripts/bench-backup.py --server $(BIN)

bench-import: build setup-test ## Import 2M points from the data folder of a real influxd (3 minutes)
	scripts/bench-import.py --server $(BIN)

bench-limits: build ## 64 clients with heavy and light queries on 2 GiB of memory (MINUTES=10)
	scripts/limits.py --server $(BIN) --minutes $(or $(MINUTES),10)

chaos: build ## Kill the server KILLS times (100) under writers and deleters, and check what it holds (SEED=)
	scripts/chaos.py --server $(BIN) --kills $(KILLS) $(if $(filter command line environment,$(origin SEED)),--seed $(SEED))

compare-cqs: build setup-test ## Compare what continuous queries write with a real influxd (1 minute)
	scripts/compare-cqs.py --server $(BIN)

schemathesis: build ## Send what schemathesis makes up from docs/openapi.json: nothing may be a 500 (EXAMPLES=50)
	scripts/schemathesis.sh $(BIN)

views: build ## Keep a view of 10M points through 20 kills, and compare it with its statement (10 minutes)
	scripts/views.py --server $(BIN)

compare-auth: setup-test ## Compare who may do what with a real influxd (tests/auth/matrix.txt)
	scripts/compare-auth.py

chaos-cluster: build ## Kill, freeze and cut off nodes of a cluster FAULTS=200 times under load, and check that nothing is lost
	scripts/chaos-cluster.py --server $(BIN) --faults $(FAULTS) --seed $(SEED)

bench-cluster: build ## Measure how fast a node that was away for 2M points catches up (1 minute)
	scripts/bench-cluster.py --server $(BIN)

chaos-short: build
	scripts/chaos.py --server $(BIN) --kills 8

fuzz: setup ## Fuzz each parser for FUZZ_SECONDS (default 60)
	scripts/fuzz.sh

audit: ## Check licences, bans, sources and advisories of the dependencies
	scripts/audit.sh

docs: build ## Regenerate the references: configuration, limits, metrics, privileges
	$(BIN) config --markdown > docs/configuration.md
	$(BIN) limits > docs/limits.md
	$(BIN) metrics > docs/metrics.md
	$(BIN) privileges > docs/privileges.md

clean: ## Remove build output
	cargo clean
