# The commands a person runs, and the same ones CI runs. `make help` lists them.
#
# What a build leaves behind: dist/ (the two extensions), .venv/ (pinned command-line tools), target/ (cargo's).

SHELL       := /bin/sh
TARGET      := $(or $(CARGO_TARGET_DIR),target)
VENV        := .venv
PYTHON      := $(VENV)/bin/python
VERSION     := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
# The workspaces beside the root one: each links a SQLite of its own, so each has a lock file of its own.
WORKSPACES  := Cargo.toml $(wildcard bench/Cargo.toml oracle/Cargo.toml torture/Cargo.toml fuzz/Cargo.toml)
DIST        := $(if $(wildcard sqlite-ext/Cargo.toml),dist/maniac.so) \
               $(if $(wildcard duckdb-ext/Cargo.toml),dist/maniac.duckdb_extension) \
               dist/libmaniac_client.so dist/maniac.h
SETUP_STAMP := $(VENV)/.setup-done
DENY        := cargo-deny
DENY_VERSION := 0.20.2

.PHONY: help setup build test verify fix demo bench torture clean deny-tool

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "  make %-8s %s\n", $$1, $$2 }'

setup: $(SETUP_STAMP) ## install what is missing: sqlite3, a virtual environment with the pinned duckdb tools

$(SETUP_STAMP): tools/setup.sh tools/link_tools.py tools/requirements.txt tools/requirements-orms.txt tools/requirements-s3.txt \
                tools/requirements-node.txt sql-tests/hosts/node/package-lock.json
	tools/setup.sh $(VENV)
	@touch $@

build: $(DIST) ## release builds into dist/: the two extensions, and the C library with its header

# Renamed into place: a process that has the old file mapped keeps it whole. Cargo decides whether there is work.
dist/maniac.so: FORCE | setup
	cargo build --release --locked -p maniac-sqlite
	@mkdir -p dist
	@cp $(TARGET)/release/libmaniac.so dist/.maniac.so && mv dist/.maniac.so $@

dist/maniac.duckdb_extension: FORCE | setup
	cargo build --release --locked -p maniac-duckdb
	@mkdir -p dist
	@$(PYTHON) tools/duckdb_footer.py $(TARGET)/release/libmaniac_duckdb.so $@ --version v$(VERSION)

dist/libmaniac_client.so: FORCE | setup
	cargo build --release --locked -p maniac-client
	@mkdir -p dist
	@cp $(TARGET)/release/libmaniac_client.so dist/.client.so && mv dist/.client.so $@

dist/maniac.h: FORCE | setup
	@mkdir -p dist
	cargo run --quiet --locked -p maniac-client --example header -- dist/.maniac.h
	@mv dist/.maniac.h $@

FORCE:

test: build ## unit tests, property tests, and the .slt files against the real sqlite3 and duckdb
	tools/test.sh $(PYTHON) $(WORKSPACES)

verify: deny-tool ## format, clippy with warnings as errors, licences and advisories, then every test; changes nothing
	@for w in $(WORKSPACES); do echo "fmt $$w"; cargo fmt --manifest-path $$w --all -- --check || exit 1; done
	@for w in $(WORKSPACES); do echo "clippy $$w"; (cd $$(dirname $$w) && cargo clippy --workspace --all-targets --locked -- -D warnings) || exit 1; done
	@for w in $(WORKSPACES); do echo "deny $$w"; $(DENY) --manifest-path $$w check --hide-inclusion-graph bans licenses sources || exit 1; done
	@# Advisories come from a database on the network: without it that check is left out, and says so.
	@if $(DENY) fetch db 2>/dev/null; then \
	    for w in $(WORKSPACES); do $(DENY) --manifest-path $$w check advisories || exit 1; done; \
	else echo "deny: ADVISORIES NOT CHECKED, their database could not be fetched"; fi
	$(MAKE) test

fix: ## format, and apply what clippy can apply
	@for w in $(WORKSPACES); do cargo fmt --manifest-path $$w --all && \
	    (cd $$(dirname $$w) && cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged) || exit 1; done

demo: build ## the main job on real data: 336,776 flights in SQLite, analysed in DuckDB while they change
	$(PYTHON) tools/demo.py

bench: build ## measure against stock SQLite, and the delay until DuckDB sees a commit; keeps bench/results/
	bench/run.sh

torture: build ## hours of it: 1,000 crashes, 500 machines that stop, a million captured transactions, fuzzing, 5 GB
	MANIAC_CASES=20000 cargo test --locked -p maniac-store --test simulation -- --nocapture
	MANIAC_CASES=10000 cargo test --locked -p maniac-connection --test model --test simulation -- --nocapture
	cd torture && MANIAC_ROUNDS=1000 cargo test --locked --release --test crash -- --nocapture
	cd torture && MANIAC_ROUNDS=500 cargo test --locked --release --test lost_writes -- --nocapture
	cd torture && MANIAC_CASES=2000 MANIAC_STEPS=500 cargo test --locked --release --test oracle -- --nocapture
	cd oracle && MANIAC_SEEDS=34000 cargo test --locked --release --test random -- --nocapture
	cd oracle && MANIAC_CASES=20000 cargo test --locked --release --test apply -- --nocapture
	cd oracle && MANIAC_STRIDE=1 cargo test --locked --release --test merge_matrix -- --nocapture
	MANIAC_CASES=300 MANIAC_STEPS=60 cargo test --locked -p maniac-sql-tests --test mirror_histories -- --nocapture
	# The same with every changed table copied instead of followed.
	cargo build --release --locked -p maniac-duckdb --features copy-all
	mkdir -p $(TARGET)/copy-all && cp dist/maniac.so $(TARGET)/copy-all/
	$(PYTHON) tools/duckdb_footer.py $(TARGET)/release/libmaniac_duckdb.so $(TARGET)/copy-all/maniac.duckdb_extension --version v$(VERSION)
	MANIAC_DIST=$(abspath $(TARGET)/copy-all) MANIAC_CASES=100 MANIAC_STEPS=60 cargo test --locked -p maniac-sql-tests --test mirror_histories -- --nocapture
	MANIAC_ROWS=3000000 MANIAC_ROUNDS=2 cargo test --locked -p maniac-sql-tests --test mirror_kills in_large -- --nocapture
	MANIAC_CASES=3000 cargo test --locked -p maniac-sql-tests --test virtual_merges -- --nocapture
	cd fuzz && MANIAC_INPUTS=50000 cargo test --locked -- --nocapture
	cd torture && cargo run --locked --release --bin torture-worker big 5

clean: ## remove what builds and tests leave (the virtual environment stays)
	cargo clean
	rm -rf dist .demo bench/target oracle/target torture/target fuzz/target

deny-tool:
	@$(DENY) --version 2>/dev/null | grep -q '^cargo-deny $(DENY_VERSION)$$' || \
	    { echo "installing cargo-deny $(DENY_VERSION) (a few minutes, once)"; \
	      cargo install --locked --quiet cargo-deny@$(DENY_VERSION); }
