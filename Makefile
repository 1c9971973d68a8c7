VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check
# What the demonstration trains and draws with.
DEMO := "scikit-learn>=1.3" "matplotlib>=3.7" "tqdm>=4.60"
# The tests whose numbers come from vectors, for the instruction sets that the machine does not choose.
KERNELS := tests/test_elements.py tests/test_kernels.py tests/test_every_dtype.py tests/test_values.py tests/test_fusion.py

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint build compare compare-ops instructions costs bench wheel stubs clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.built ## Build, install into .venv, walk through autograd and train on handwritten digits
	$(PIP) $(DEMO)
	$(PYTHON) -m ferrograd

test: $(VENV)/.built lint ## Everything: format, lint, Rust tests, Python tests, the documents' examples
	cargo test --release
	$(PIP) "pytest>=8" "hypothesis>=6.100" $(DEMO)
	$(PYTHON) -m pytest
	FERROGRAD_FUSION_ELEMENTS=2 $(PYTHON) -m pytest
	FERROGRAD_SIMD=baseline $(PYTHON) -m pytest tests/test_elements.py

test-all: test ## As test, and the slow exhaustive tests
	cargo test --release -- --ignored
	FERROGRAD_DRAWN=60 $(PYTHON) -m pytest tests/test_drawn.py
	for simd in baseline avx2; do FERROGRAD_SIMD=$$simd $(PYTHON) -m pytest $(KERNELS) || exit 1; done

lint: ## Format and clippy, warnings as errors
	cargo fmt --check
	cargo clippy --release --all-targets -- -D warnings
	cargo clippy --release --all-targets --features python -- -D warnings

build: $(VENV)/.built ## Build and install into .venv

$(VENV)/bin/maturin:
	python3 -m venv $(VENV)
	$(PIP) "maturin>=1.8,<2"

$(VENV)/.built: $(VENV)/bin/maturin $(shell find src python -type f -not -name '*.so' -not -path '*__pycache__*') Cargo.toml Cargo.lock pyproject.toml
	. $(VENV)/bin/activate && maturin develop --release --quiet
	touch $@

compare: $(VENV)/.built ## Side by side with torch, NumPy and JAX where they are installed
	$(PIP) "matplotlib>=3.7"
	$(PYTHON) benches/compare/run.py
	$(PYTHON) benches/compare/curves.py
	$(PYTHON) benches/compare/limits.py
	$(PYTHON) benches/compare/memory.py

compare-ops: $(VENV)/.built ## Every operation beside torch, where it is installed: prints those that are slower
	$(PYTHON) benches/compare/ops.py

instructions: $(VENV)/.built ## Count what calls take with valgrind; fails where it is more than benches/instructions.json says
	$(PYTHON) benches/instructions.py --check

costs: ## What a small operation costs in each part of the code: the table of docs/performance.md
	CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_STRIP=none cargo build --release --features python --target-dir build/costs
	cp -r python build/costs/
	cp build/costs/release/libferrograd.so build/costs/python/ferrograd/_ferrograd.abi3.so
	python3 benches/instructions.py --parts build/costs/python

bench: ## Benchmarks of the Rust core
	cargo bench

wheel: $(VENV)/bin/maturin ## The wheel in dist/, in the place of others; fails where it has more than 8 MB
	rm -f dist/*.whl
	. $(VENV)/bin/activate && maturin build --release --quiet --compression-level 9 --out dist
	@wc -c dist/*.whl
	@test $$(cat dist/*.whl | wc -c) -le 8000000

stubs: $(VENV)/.built ## Write the type stubs and the reference anew from the table
	$(PYTHON) tools/stubs.py

clean: ## Remove what was built
	cargo clean
	rm -rf $(VENV) build dist
