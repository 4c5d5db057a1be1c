"""Ray Train: the same command on a Ray cluster's workers.

    pip install "ray[train]"
    python recipes/ray_train.py --workers 8 --gpu -- --checkpoints /shared/out

What stands behind -- goes to experiments.outgrow_train. The folder of the checkpoints has to be one
that every worker sees, and the course has to lie in the same place on every machine. A worker that
fails is replaced, and the run goes on from the last checkpoint; a run that is refused, as for options
that are not those of the checkpoints, ends at once. Tried with Ray 2.60 and two workers on two cores.
"""

import argparse
import os
import sys
from pathlib import Path

LABS = Path(__file__).resolve().parents[1] / "labs"
REFUSED = "refused: the worker's log says why"


def work(settings: dict) -> None:
    """What every worker runs; Ray has named the team, and has let its processes meet."""
    sys.path.insert(0, settings["labs"])
    os.environ.update(settings["course"])
    from experiments import outgrow_train

    if status := outgrow_train.main(settings["words"]):  # Ray takes SystemExit for a good end
        raise RuntimeError(REFUSED if status == 2 else f"a worker ended with status {status}")


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gpu", action="store_true", help="give each worker a GPU")
    parser.add_argument(
        "words", nargs="*", metavar="-- OPTIONS", help="of experiments.outgrow_train"
    )
    options = parser.parse_args(words)

    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # else every line comes twice
    from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
    from ray.train.torch import TorchTrainer

    class EndRefused(UserCallback):
        """Ray would start a run again that all workers refused: what is raised here ends it."""

        def after_exception(self, run_context, worker_exceptions):
            if all(REFUSED in str(error) for error in worker_exceptions.values()):
                raise RuntimeError(REFUSED)

    # On other machines a worker has none of this process's variables.
    course = {name: value for name, value in os.environ.items() if name.startswith("COURSE_")}
    TorchTrainer(
        work,
        train_loop_config={"labs": str(LABS), "words": options.words, "course": course},
        scaling_config=ScalingConfig(num_workers=options.workers, use_gpu=options.gpu),
        run_config=RunConfig(
            failure_config=FailureConfig(max_failures=3), callbacks=[EndRefused()]
        ),
    ).fit()


if __name__ == "__main__":
    main(sys.argv[1:])
