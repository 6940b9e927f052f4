# The everyday commands. `make` alone lists them.

# One target directory and one set of features for everything, so that nothing is built twice:
# what is run and tested here is what `cargo test --workspace` builds.
CARGO ?= cargo
PYTHON ?= python3
# Set to --locked by continuous integration.
LOCKED ?=
# Further arguments of `run`, `conformance`, `bench`, `compare`, `load` and `soak`.
ARGS ?=

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
NODE := $(TARGET)/debug/kwaainet
OUTSIDE := server/node/tests/outside
VENV := $(TARGET)/outside/venv
CONFORMANCE := $(TARGET)/conformance/venv
SCHEMAS := $(TARGET)/schemas
SEALING := clients/js/storage
SCHEMA_CHECK = $(SCHEMAS)/venv/bin/python backends/candle/tests/schemas/check.py
TEST_MODELS := smollm2-135m-instruct gemma3-270m all-minilm-l6-v2

# What `compare` measures.
COMPARED := smollm2-135m-instruct gemma3-270m

# What `soak` serves.
SOAKED := smollm2-135m-instruct all-minilm-l6-v2

# What `make test` does, in this order. Each is a target of its own.
STEPS := tools fmt clippy build models unit outside-python outside-js schemas-tools conformance

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test chaos opens fuzz fuzz-plain test-aarch64 test-wasm bench compare load soak golden openapi schemas schemas-servers clean-outside FORCE $(STEPS)

help: ## list these commands
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r name what; do printf '  %-20s %s\n' "make $$name" "$$what"; done

run: ## build the node, fetch its models, and serve on 127.0.0.1:11435
	@if command -v $(CARGO) >/dev/null; then :; else \
		echo "missing: Rust (cargo); see rustup or your system's packages"; exit 1; fi
	$(CARGO) build --release -p kwaainet $(LOCKED)
	$(TARGET)/release/kwaainet pull smollm2-135m-instruct all-minilm-l6-v2
	@exec $(TARGET)/release/kwaainet serve $(ARGS)

test: ## everything that has to pass, with the time of each step
	@set -e; \
	for step in $(STEPS); do \
		printf '\n== %s\n' "$$step"; begin=$$(date +%s); \
		$(MAKE) --no-print-directory "$$step"; \
		end=$$(date +%s); times="$$times  $$step $$((end - begin)) s\n"; \
	done; \
	printf '\nall passed:\n%b' "$$times"

tools: ## test, step 1: say in one line each which tools are missing
	@missing=0; \
	need() { if eval "$$1" >/dev/null 2>&1; then :; else echo "missing: $$2"; missing=1; fi; }; \
	need 'command -v $(CARGO)' 'Rust (cargo)'; \
	need '$(CARGO) fmt --version' 'rustfmt, a component of Rust'; \
	need '$(CARGO) clippy --version' 'clippy, a component of Rust'; \
	need 'command -v cc' 'a C compiler (cc)'; \
	need '$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))"' 'Python 3.10 or later ($(PYTHON))'; \
	need '$(PYTHON) -c "import venv, ensurepip"' 'venv and ensurepip of $(PYTHON) (on Debian: python3-venv)'; \
	need '$(PYTHON) -m pip --version' 'pip of $(PYTHON)'; \
	need 'node -e "process.exit(+(parseInt(process.versions.node) < 20))"' 'Node 20 or later (node)'; \
	need 'command -v npm' 'npm'; \
	exit $$missing

fmt: ## test, step 2: the formatting
	$(CARGO) fmt --all --check

clippy: ## test, step 3: the lints
	$(CARGO) clippy --workspace --all-targets $(LOCKED) -- -D warnings

build: ## test, step 4: the node and all tests of the workspace
	$(CARGO) build --workspace --all-targets $(LOCKED)

models: ## test, step 5: the models that the tests use, into the user's cache
	$(NODE) pull $(TEST_MODELS)

unit: ## test, step 6: the tests of the workspace
	$(CARGO) test --workspace $(LOCKED)

outside-python: $(VENV)/.ready ## test, step 7: a real node through the official Python SDK, and its faults
	KWAAINET_BINARY=$(NODE) $(VENV)/bin/python -m pytest $(OUTSIDE) $(ARGS)

outside-js: $(OUTSIDE)/js/node_modules/.ready $(SEALING)/dist/.ready ## test, step 8: a real node through the official JavaScript SDK
	cd $(OUTSIDE)/js && KWAAINET_BINARY=$(NODE) npm test --silent

$(VENV)/.ready: $(OUTSIDE)/requirements.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet -r $(OUTSIDE)/requirements.txt
	@touch $@

$(OUTSIDE)/js/node_modules/.ready: $(OUTSIDE)/js/package-lock.json
	cd $(OUTSIDE)/js && npm ci --no-audit --no-fund
	@touch $@

$(SEALING)/dist/.ready: $(SEALING)/package-lock.json $(wildcard $(SEALING)/src/*.ts $(SEALING)/test/*.ts)
	cd $(SEALING) && npm ci --no-audit --no-fund && npm test --silent
	@touch $@

schemas-tools: $(SCHEMAS)/.ready ## test, step 9: texts under the JSON schemas of tools, by another validator
	@$(SCHEMA_CHECK) tools backends/candle/tests/schemas/tools.json > $(SCHEMAS)/tools.jsonl
	@$(MAKE) --no-print-directory $(SCHEMAS)/tools.walks

conformance: $(CONFORMANCE)/.ready ## test, step 10: a real node against its own /openapi.json (ARGS="--full")
	KWAAINET_BINARY=$(NODE) $(CONFORMANCE)/bin/python $(OUTSIDE)/conformance/run.py $(ARGS)

$(CONFORMANCE)/.ready: $(OUTSIDE)/conformance/requirements.txt
	$(PYTHON) -m venv --clear $(CONFORMANCE)
	$(CONFORMANCE)/bin/python -m pip install --quiet -r $(OUTSIDE)/conformance/requirements.txt
	@touch $@

schemas: $(SCHEMAS)/.ready schemas-tools ## the same under the JSON Schema Test Suite, and the share that is refused
	cd $(SCHEMAS) && venv/bin/pip download --quiet --no-deps --no-binary :all: jsonschema==4.26.0
	@$(SCHEMA_CHECK) suite $(SCHEMAS)/jsonschema-4.26.0.tar.gz > $(SCHEMAS)/suite.jsonl
	@$(MAKE) --no-print-directory $(SCHEMAS)/suite.walks

schemas-servers: $(SCHEMAS)/.ready ## the same under the schemas of the tools of thirteen MCP servers
	mkdir -p $(SCHEMAS)/servers
	cp backends/candle/tests/schemas/servers/package.json $(SCHEMAS)/servers/
	cd $(SCHEMAS)/servers && npm install --silent --no-audit --no-fund --ignore-scripts
	$(PYTHON) backends/candle/tests/schemas/servers.py $(SCHEMAS)/servers > $(SCHEMAS)/servers.jsonl
	@$(MAKE) --no-print-directory $(SCHEMAS)/servers.walks

$(SCHEMAS)/%.walks: FORCE
	$(CARGO) test -p kwaainet-candle --lib $(LOCKED) grammar::tests::walks -- --ignored --nocapture \
		< $(SCHEMAS)/$*.jsonl > $@
	$(SCHEMA_CHECK) check $(SCHEMAS)/$*.jsonl $@

$(SCHEMAS)/.ready: backends/candle/tests/schemas/requirements.txt
	$(PYTHON) -m venv --clear $(SCHEMAS)/venv
	$(SCHEMAS)/venv/bin/python -m pip install --quiet -r backends/candle/tests/schemas/requirements.txt
	@touch $@

FORCE:

test-aarch64: ## the kernels' tests and the digests of real models on aarch64 with NEON, dotprod and i8mm, under qemu
	@CARGO=$(CARGO) backends/kernels/elsewhere/test.sh aarch64 $(TARGET)/aarch64

test-wasm: ## the same in WebAssembly with simd128, in wasmtime
	@CARGO=$(CARGO) backends/kernels/elsewhere/test.sh wasm $(TARGET)/wasm

bench: ## measure the engine on this machine (ARGS="--runs 5 --json")
	$(CARGO) run --release -p kwaainet $(LOCKED) -- bench $(ARGS)

compare: ## the node beside llama.cpp (LLAMA_CPP=DIR with its tools, ARGS="--rounds 5"; see loadtests/README.md)
	@if [ -n "$(LLAMA_CPP)" ]; then :; else echo "missing: LLAMA_CPP=DIR, the folder of llama-bench"; exit 1; fi
	$(CARGO) build --release -p kwaainet $(LOCKED)
	$(TARGET)/release/kwaainet pull $(COMPARED)
	@cache="$${XDG_CACHE_HOME:-$$HOME/.cache}/kwaainet/models"; \
	$(PYTHON) loadtests/llama_cpp.py --llama-cpp "$(LLAMA_CPP)" --kwaainet $(TARGET)/release/kwaainet $(ARGS) \
		$(foreach model,$(COMPARED),"$$cache"/$(model)/*.gguf)

chaos: $(VENV)/.ready ## nodes that are killed, frozen and cut off while they serve, 100 times each (CHAOS_KILLS=8 CHAOS_CUTS=4 CHAOS_SEED=1)
	CHAOS_KILLS=$${CHAOS_KILLS:-100} CHAOS_CUTS=$${CHAOS_CUTS:-100} \
		CHAOS_GONE=$${CHAOS_GONE:-1.5} CHAOS_BACK=$${CHAOS_BACK:-3} KWAAINET_BINARY=$(NODE) \
		$(VENV)/bin/python -m pytest -s $(OUTSIDE)/test_federation.py $(OUTSIDE)/test_cut.py

opens: ## a million streams that a member opens and means none of, over real sockets; takes some minutes
	$(CARGO) test -p kwaainet-iroh --test opens $(LOCKED) -- --ignored --nocapture

# How long each target of the two below runs.
SECONDS ?= 60
FUZZ := fuzz/Cargo.toml
REPLAY := $(CARGO) run --quiet --manifest-path $(FUZZ) --no-default-features --bin replay --

fuzz: ## look for bytes that break what reads the bytes of others, by a fuzzer (SECONDS=300; needs nightly, cargo-fuzz)
	$(REPLAY) samples fuzz/corpus
	@set -e; for target in $$(sed -n 's|^path = "fuzz_targets/\(.*\).rs"|\1|p' $(FUZZ)); do \
		$(CARGO) +nightly fuzz run $$target -- -max_len=4096 -max_total_time=$(SECONDS) -print_final_stats=1; \
	done

fuzz-plain: ## the same with any compiler: good bytes, changed at random (SECONDS=60)
	cd fuzz && $(CARGO) run --quiet --no-default-features --bin replay -- change $(SECONDS)

load: ## put load on a running node (ARGS="chat --model NAME ..."; see loadtests/README.md)
	$(CARGO) run --release -p kwaainet-loadtests $(LOCKED) -- $(ARGS)

soak: ## half an hour of mixed load with clients that leave, of which nothing may stay (ARGS="--minutes 5")
	$(CARGO) build --release -p kwaainet $(LOCKED)
	$(TARGET)/release/kwaainet pull $(SOAKED)
	@$(PYTHON) loadtests/soak.py --kwaainet $(TARGET)/release/kwaainet $(ARGS)

golden: ## say how the golden texts of the engine's tests are made anew
	@echo 'The files in backends/candle/tests/golden come from other programs. To make them anew:'
	@echo
	@echo '  make models   # the model files lie in the cache afterwards'
	@echo '  cd backends/candle/tests/golden'
	@echo
	@echo 'Then, each in a virtual environment of its own with the packages that its head names:'
	@echo
	@echo '  python make_llama.py --help    # smollm2.json and gemma3.json, by llama.cpp'
	@echo '  python make_minilm.py --help   # minilm.json, by sentence-transformers'

openapi: ## write openapi/openapi.json anew
	$(CARGO) build -p kwaainet $(LOCKED)
	$(NODE) openapi > openapi/openapi.json.new
	mv openapi/openapi.json.new openapi/openapi.json

clean-outside: ## remove what the outside tests installed
	rm -rf $(TARGET)/outside $(OUTSIDE)/js/node_modules $(SEALING)/node_modules $(SEALING)/dist
