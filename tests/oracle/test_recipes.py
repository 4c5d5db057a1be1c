"""The recipes start what they name: two machines, Slurm and accelerate, all played by this one."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import chats
import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes"
pytestmark = pytest.mark.xdist_group("two processes")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A small chat model in a folder, as COURSE_BASE takes it."""
    folder, tokenizer = tmp_path_factory.mktemp("base"), chats.chatml()
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=1024,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def world(base, monkeypatch):
    """The environment of a cluster's machine: no GPU, one thread, none of our own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    return kept | {
        "COURSE_BASE": str(base),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def words(folder):
    return ["--steps", "2", "--batch", "4", "--every", "2", "--checkpoints", str(folder)]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def started(line, env, cwd):
    return subprocess.Popen(
        line, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def both_steps(folder, said):
    assert (folder / "step-000002/.metadata").is_file()
    assert len(list((folder / "step-000002").glob("*.distcp"))) == 2  # each process wrote its part
    assert "2 processes on cpu, from step 0 of 2" in said
    assert len(re.findall(r"^step \d loss \d", said, re.M)) == 2  # process 0 alone prints


def test_two_machines_meet_and_train(world, tmp_path):
    world |= {"HEAD": "127.0.0.1", "MACHINES": "2", "PORT": free_port()}
    machines = [
        started([RECIPES / "machines.sh", *words("out")], world | {"NUMBER": number}, tmp_path)
        for number in ("0", "1")
    ]
    told = [machine.communicate(timeout=300) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], told
    both_steps(tmp_path / "out", "".join(out for out, _ in told))


@pytest.mark.parametrize("name", ["HEAD", "MACHINES", "NUMBER"])
def test_a_machine_that_is_not_told_where_it_stands_says_so(world, tmp_path, name):
    world |= {"HEAD": "127.0.0.1", "MACHINES": "2", "NUMBER": "0"}
    del world[name]
    machine = started([RECIPES / "machines.sh", *words("out")], world, tmp_path)
    assert f", as in {name}=" in machine.communicate(timeout=60)[1]
    assert machine.returncode and not list(tmp_path.iterdir())


SCONTROL = '#!/bin/sh\n[ "$1 $2" = "show hostnames" ] && echo 127.0.0.1\n'
SRUN = '#!/bin/sh\nfor one; do case "$one" in --*) shift;; *) break;; esac; done\nexec "$@"\n'


def test_slurm_starts_what_the_batch_file_says(world, tmp_path):
    """srun and scontrol are played: one machine with two processes."""
    for name, text in (("scontrol", SCONTROL), ("srun", SRUN)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    world |= {
        "PATH": f"{tmp_path / 'bin'}:{world['PATH']}",
        "SLURM_SUBMIT_DIR": str(ROOT),
        "SLURM_JOB_ID": free_port()[-4:],
        "SLURM_JOB_NODELIST": "one",
        "SLURM_NNODES": "1",
        "SLURM_GPUS_ON_NODE": "2",
    }
    job = started(["bash", RECIPES / "train.sbatch", *words("out")], world, tmp_path)
    said, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    both_steps(tmp_path / "out", said)


def test_accelerate_starts_what_its_file_says(world, tmp_path):
    line = ["accelerate", "launch", "--config_file", RECIPES / "accelerate.yaml"]
    line += ["--main_process_port", free_port(), "-m", "experiments.outgrow_train"]
    job = started([*line, *words(tmp_path / "out")], world, ROOT / "labs")
    said, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    both_steps(tmp_path / "out", said)


def test_skypilots_file_starts_machines_of_the_same_script():
    task = yaml.safe_load((RECIPES / "skypilot.yaml").read_text())
    known = {"name", "num_nodes", "workdir", "resources", "envs", "file_mounts", "setup", "run"}
    assert set(task) == known and task["num_nodes"] > 1
    for part in ("setup", "run"):
        subprocess.run(["bash", "-n", "-c", task[part]], check=True)
    needed = set(re.findall(r"\$\{(\w+):\?", (RECIPES / "machines.sh").read_text()))
    assert needed == set(re.findall(r"\b(HEAD|MACHINES|NUMBER)=", task["run"]))
    assert task["envs"]["CHECKPOINTS"].startswith(next(iter(task["file_mounts"])))


PLAYED_RAY = """
import os


class Settings:
    def __init__(self, **settings):
        self.__dict__.update(settings)


FailureConfig = RunConfig = ScalingConfig = Settings


class UserCallback:
    pass


class TorchTrainer:
    def __init__(self, work, train_loop_config, scaling_config, run_config):
        self.work, self.settings, self.run = work, train_loop_config, run_config

    def fit(self):
        for name in [name for name in os.environ if name.startswith("COURSE_")]:
            del os.environ[name]  # as on another machine
        for attempt in range(self.run.failure_config.max_failures + 1):
            print("attempt", attempt)
            try:
                return self.work(self.settings)
            except RuntimeError as error:
                for callback in self.run.callbacks:
                    callback.after_exception(None, {0: error})
"""


def by_played_ray(folder, world, *words):
    """The recipe with one worker in its own process; a worker that fails is started again."""
    for name in ("__init__.py", "train/__init__.py", "train/torch.py"):
        path = folder / "played/ray" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PLAYED_RAY)
    world = world | {"PYTHONPATH": str(folder / "played")}
    return started([sys.executable, RECIPES / "ray_train.py", "--", *words], world, folder)


def test_rays_workers_get_the_options_and_the_model(world, tmp_path):
    job = by_played_ray(tmp_path, world, *words(tmp_path / "out"))
    said, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    assert "1 processes on cpu, from step 0 of 2" in said
    assert world["COURSE_BASE"] in (tmp_path / "out/run.json").read_text()


def test_a_run_that_is_refused_is_not_started_again_by_ray(world, tmp_path):
    job = by_played_ray(tmp_path, world, "--steps", "0", "--checkpoints", str(tmp_path / "out"))
    said, errors = job.communicate(timeout=300)
    assert job.returncode and said.count("attempt") == 1
    assert "--steps is 0" in errors and "refused: the worker's log says why" in errors


def test_rays_file_says_what_it_takes_without_ray():
    told = subprocess.run(
        [sys.executable, RECIPES / "ray_train.py", "--help"], capture_output=True, text=True
    )
    assert told.returncode == 0 and "--workers" in told.stdout


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.s*[!y]")), ids=lambda path: path.name)
def test_shells_read_the_recipes(path):
    subprocess.run(["bash", "-n", path], check=True)
