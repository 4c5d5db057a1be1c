"""Ray Train: the same command on a Ray cluster's workers.

    pip install "ray[train]"
    python recipes/ray_train.py --workers 8 --gpu -- --checkpoints /shared/out

What stands behind -- goes to experiments.outgrow_train. The folder of the checkpoints has to be one
that every worker sees; a worker that fails is replaced, and the run goes on from the last of them.
"""

import argparse
import sys
from pathlib import Path

LABS = Path(__file__).resolve().parents[1] / "labs"


def work(settings: dict) -> None:
    """What every worker runs; Ray has named the team, and has let its processes meet."""
    sys.path.insert(0, settings["labs"])
    from experiments import outgrow_train

    if status := outgrow_train.main(settings["words"]):  # Ray takes SystemExit for a good end
        raise RuntimeError(f"a worker ended with status {status}: its log says why")


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gpu", action="store_true", help="give each worker a GPU")
    parser.add_argument(
        "words", nargs="*", metavar="-- OPTIONS", help="of experiments.outgrow_train"
    )
    options = parser.parse_args(words)

    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    TorchTrainer(
        work,
        train_loop_config={"labs": str(LABS), "words": options.words},
        scaling_config=ScalingConfig(num_workers=options.workers, use_gpu=options.gpu),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=3)),
    ).fit()


if __name__ == "__main__":
    main(sys.argv[1:])
