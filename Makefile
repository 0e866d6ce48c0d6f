# What CONTRIBUTING.md names. `make check` is what CI runs, less the installation of servers.

.PHONY: check fmt lint test scars doc docs bench memory speed persistence stalls suites client-suites matrix soak fuzz memcheck

check: fmt lint doc test

fmt:
	cargo fmt --check

lint:
	cargo clippy --all-targets -- -D warnings

test:
	cargo test

# Each scar of docs/contract.md on redis-server, valkey-server and our own nodes; `make test` tries it on one of them.
scars:
	KEYWAY_REQUIRE_REAL=1 KEYWAY_NODES=all cargo test --test it scar_

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# Writes docs/metrics.md, docs/limits.md and docs/commands.md from the tables in the code.
docs:
	KEYWAY_REWRITE=1 cargo test --test tidy
	KEYWAY_REWRITE=1 cargo test --test it the_page_of_commands

# The decoders with random input, a minute each: see CONTRIBUTING.md.
FUZZ_SECONDS ?= 60
fuzz:
	for target in $$(cargo fuzz list); do mkdir -p fuzz/found/$$target; \
		RUSTC_BOOTSTRAP=1 cargo fuzz run -O -a $$target fuzz/found/$$target fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

# The modules of the store that have `unsafe` in them, under valgrind. Unit tests run on the system's
# allocator, which it watches.
memcheck:
	PROPTEST_CASES=8 CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind -q --error-exitcode=1" \
		cargo test --lib -- --test-threads 1 store::thin store::compact store::payload store::entry \
		store::types::intset store::types::listpack store::types::ranking

# The long versions of what CI runs a slice of. On two cores, both busy: the 38 units of Redis's suite that concern
# data take six minutes, one after the other; the groups of random commands 40 minutes one after the other, most of
# which is waiting (blocked clients, lists, scans): cargo runs two at a time. Replication and clusters come on top.
suites:
	cargo build --release
	tests/suites/run
	KEYWAY_REQUIRE_REAL=1 KEYWAY_SEED=random KEYWAY_DIFF_COMMANDS=100000 cargo test --release --test it differential -- --nocapture

soak:
	KEYWAY_REQUIRE_REAL=1 KEYWAY_NODES=all KEYWAY_SEED=random KEYWAY_SEEDS=5000 KEYWAY_ROUNDS=15 KEYWAY_KEYS=100000 cargo test --release -- --nocapture
	cargo test --release --test sim -- --ignored --nocapture

# Client libraries against `keyway up` and against a proxy before stock servers, with their defaults; writes
# docs/clients.md. Needs redis-py, npm for those of Node, and for the others Debian's libhiredis-dev, ruby-redis,
# php-cli, php-redis, libredis-perl and golang-go with golang-gopkg-redis.v5-dev and
# golang-github-gomodule-redigo-dev; redis-rs comes from crates.io. What is not there is left out.
matrix:
	cargo build
	-npm install --no-save --no-fund --no-audit --prefix target/matrix ioredis redis
	KEYWAY_REWRITE=1 NODE_PATH=target/matrix/node_modules python3 tests/clients/run.py

# Suites that others wrote for one server: what passes on Valkey passes through the proxy, but for what
# tests/suites/clients.txt lists.
client-suites:
	cargo build
	tests/suites/clients

bench:
	cargo build --profile dist
	@echo "target/dist/keyway is built; docs/benchmarks.md has the commands"

# Bytes per key of every type, beside redis-server and a valkey-server, where VALKEY names one.
VALKEY ?=
memory:
	cargo build --release
	benches/memory.py target/release/keyway redis-server $(VALKEY)

# Processor time and requests per second of every command of redis-benchmark, beside redis-server.
speed:
	cargo build --profile dist
	benches/node_speed.py target/dist/keyway redis-server

# Saving, loading, full sync and MIGRATE beside redis-server, and a snapshot under load.
persistence:
	cargo build --profile dist
	benches/persistence.py target/dist/keyway redis-server

# The longest that a command holds up others while much expires or is freed.
stalls:
	cargo build --profile dist
	benches/stalls.py --core 1 target/dist/keyway redis-server
