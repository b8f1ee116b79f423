# make quickstart   set-up, benchmark data, training, evaluation, pictures: the whole system on any machine
# make demo         set-up, 3D poses of the people in a video that pip fetches, and an interactive viewer
# make test         set-up, tests        make soak   the tests that take longer        make lint   ruff and mypy
# make bench        speed and memory against a plain reference
# Each target does only what is not done yet. PYTHON chooses the interpreter that .venv is made with.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# Small tensors: a second thread in a process would only wait, a second process halves the time.
TEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -q
BENCHMARK := output/benchmark/benchmark.h5
QUICKSTART := output/quickstart_42
# Of the demo's video, every EVERY-th frame.
EVERY ?= 10

.PHONY: setup quickstart demo test soak lint bench clean ask
.DELETE_ON_ERROR:

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.ready-test: $(VENV)/.ready
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

ask:

# Asked every time: the command leaves a file of the present version as it is and makes an older one anew. A run that
# was trained on the older one is then put aside, since --resume would keep it.
$(BENCHMARK): ask | $(VENV)/.ready
	$(RUN) -m data.synthetic --output $@ --workers 2

$(QUICKSTART)/model-final.pt: experiments/synthetic/quickstart.yaml $(BENCHMARK)
	@if [ -d $(QUICKSTART) ] && [ $(BENCHMARK) -nt $(QUICKSTART)/config.yaml ]; then \
	  echo "$(QUICKSTART) was trained on an older benchmark: moved to $(QUICKSTART)_old"; \
	  rm -rf $(QUICKSTART)_old && mv $(QUICKSTART) $(QUICKSTART)_old; fi
	$(RUN) train.py --config $< --seed 42 --run_name 42 --resume --no_eval --do_not_use_wandb

$(QUICKSTART)/report.json: $(QUICKSTART)/model-final.pt
	$(RUN) eval.py --config $(QUICKSTART)/config.yaml --do_not_use_wandb

quickstart: $(QUICKSTART)/report.json
	@cat $(QUICKSTART)/report.txt
	@echo "pictures: $(QUICKSTART)/hypotheses_full.png hypotheses_hard.png best_of_n.png calibration.png spread.png"

demo: $(VENV)/.ready
	$(RUN) demo/inference.py --input demo --every $(EVERY) --output output/demo
	@echo "open output/demo/viewer.html in a browser; pictures: output/demo/*_poses.png"

test: $(VENV)/.ready-test
	$(TEST) -n 2 --dist worksteal

soak: $(VENV)/.ready-test
	$(TEST) -m slow

bench: $(VENV)/.ready
	$(RUN) experiments/bench/bench.py

lint: $(VENV)/.ready-test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean:
	rm -rf $(VENV) output
