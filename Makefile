# Every target stands on one set-up in .venv, made by tools/set_up.py and redone when the requirements change.
# Another Python: make book PYTHON=python3.12
# Arguments for the tool behind a target: make test ARGS="-k loss"
# A folder of submitted notebooks: make grade SUBMISSIONS=folder

PYTHON ?= python3
ARGS =
BIN := .venv/bin

# What a shell sets for other programs would change what our Python is, loads or leaves out.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONSAFEPATH PYTHONOPTIMIZE PYTHONWARNINGS PYTHONINSPECT
unexport PYTHONUSERBASE PYTHONNOUSERSITE PYTHONPLATLIBDIR PYTHONEXECUTABLE __PYVENV_LAUNCHER__

.DEFAULT_GOAL := help
.PHONY: help setup model book release test grade capstone lab labs sweeps mutants bench

help:   ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /make \1|/p' Makefile | while IFS='|' read -r name text; do \
	  printf '  %-12s %s\n' "$$name" "$$text"; done

setup:  ## make the Python environment in .venv (every other target does this first)
	@command -v "$(PYTHON)" >/dev/null || { echo "There is no command '$(PYTHON)' here: install Python" \
	  "3.11, 3.12 or 3.13 and name it, for example: make book PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" tools/set_up.py $(if $(filter command,$(origin PYTHON)),--with-this-python)

model: setup  ## fetch the real model of lab 11 again, and make it ready (make setup brings it too)
	@$(BIN)/python tools/set_up.py --model
	@cd labs && ../$(BIN)/python -c 'from course import smollm2; smollm2.main()'

book: setup  ## build the site from the stored outputs and print where it is
	@echo "Building the book."
	@$(BIN)/jupyter-book build . --all -W -n --keep-going -q $(ARGS)
	@echo "$(CURDIR)/_build/html/index.html"

# The folder goes first: a page that has left the book would stay in it, and go into the archive.
release: setup  ## build the site afresh and pack it into one archive that opens from the disk
	@rm -rf _build/html
	@$(MAKE) --no-print-directory book
	@$(BIN)/python tools/release.py

test: setup  ## run every check, the quick ones first
ifeq ($(ARGS),)
	@echo "All but the labs, two tests at a time:"
	@$(BIN)/python -m pytest -n 2 --dist loadgroup tests/unit tests/grading tests/oracle tests/book
	@echo "The labs, one after the other, since each uses two threads:"
	@$(BIN)/python -m pytest tests/labs
else
	@$(BIN)/python -m pytest $(ARGS)
endif

grade: setup  ## turn a folder of submitted notebooks into marks: make grade SUBMISSIONS=folder
	@$(BIN)/python -E -m grading $(if $(SUBMISSIONS),"$(SUBMISSIONS)") $(ARGS)

capstone: setup  ## examine submitted adapters: make capstone SUBMISSIONS=folder ARGS="--word something"
	@$(BIN)/python -E -m grading.capstone $(if $(SUBMISSIONS),"$(SUBMISSIONS)") $(ARGS)

lab: setup  ## open the labs in JupyterLab
	@$(BIN)/python tools/open_lab.py $(ARGS)

labs: setup  ## make every lab from its source, run it, and store its outputs and results
	@$(BIN)/python tools/run_labs.py $(ARGS)

sweeps: setup  ## complete the wide sweeps; ARGS="--verify" vouches for rows of other code
	@$(BIN)/python tools/sweeps.py $(ARGS)

mutants: setup  ## plant single faults in the RLHF methods and list those that no test notices
	@$(BIN)/python tools/mutants.py $(ARGS)

bench: setup  ## time the training loops on this machine
	@$(BIN)/python tools/bench.py $(ARGS)
