"""The scripts of experiments/launch, with gcloud, ssh and srun replaced by fakes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paths import LAUNCH

from ssljax.config import Config
from ssljax.config.serialize import flatten

SCRIPTS = sorted(path for path in LAUNCH.iterdir() if path.is_file())
RECIPE = ["imagenet/simclr", "--workdir", "runs/my run"]
PORT = str(20000 + os.getpid() % 10000)  # named only, and in the names of files
# Notes its arguments and some of its environment, then does what FAKE_<NAME> says.
FAKE = """#!{python} -IS
import json, os, subprocess, sys
name = os.path.basename(sys.argv[0])
keep = ("TFDS_DATA_DIR", "JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS", "LIBTPU_INIT_ARGS",
        "WANDB_API_KEY")
seen = {{key: os.environ[key] for key in keep if key in os.environ}}
with open("{log}", "a") as file:
    file.write(json.dumps([name, sys.argv[1:], seen, os.getcwd()]) + "\\n")
if os.path.exists("{log}.replies"):
    with open("{log}.replies") as file:
        replies = json.load(file)
    for word, answers in replies.items():
        if any(word in argument for argument in sys.argv):
            text, code = answers.pop(0) if len(answers) > 1 else answers[0]
            with open("{log}.replies", "w") as file:
                json.dump(replies, file)
            print(text)
            sys.exit(code)
if name == "ssh":
    remote = {{key: x for key, x in os.environ.items() if key != "WANDB_API_KEY"}}
    command = ["sh", "-c", sys.argv[-1]]
    sys.exit(subprocess.run(command, cwd="/", env=remote).returncode)
if name == "ssljax" and os.environ.get("FAKE_RUN") == "wait":
    import signal, time
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    open("{log}.ready", "a").write("x")
    time.sleep(60)
code = os.environ.get("FAKE_" + name.upper(), "0").split()
index = sys.argv[-1] if name == "ssljax" else "0"
sys.exit(int(code[int(index)] if index.isdigit() and len(code) > 1 else code[0]))
"""


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Fake commands on the PATH, and a checkout with a fake `ssljax`."""
    log = tmp_path / "log"
    text = FAKE.format(python=sys.executable, log=log)
    checkout = tmp_path / "check out"
    for folder, names in (
        (tmp_path / "bin", ("gcloud", "ssh", "srun", "scontrol")),
        (checkout / ".venv" / "bin", ("ssljax",)),
    ):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for key in ("TFDS_DATA_DIR", "JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS", "HOSTS"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield tmp_path
    for left in Path("/tmp").glob(f"ssljax-{PORT}-*"):
        left.unlink()


def launch(script, *words, **variables):
    return subprocess.run(
        ["bash", str(LAUNCH / script), *words],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


def calls(fakes, name):
    """Arguments, environment and folder of every call of a fake command."""
    lines = (fakes / "log").read_text().splitlines()
    return [rest for called, *rest in map(json.loads, lines) if called == name]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_short_and_sound(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 60
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert "--workdir" in text and "doctor" in text
    known = flatten(Config()).keys()
    for flag in re.findall(r"--(devices\.\w+)", text):
        assert flag in known
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-s", "bash", str(path)], check=True)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_without_arguments_they_say_what_they_take(path, fakes):
    done = launch(path.name, NAME="n", ZONE="z", HOSTS="a b")
    assert done.returncode == 2 and "--workdir" in done.stderr
    assert not (fakes / "log").exists()


def test_every_step_of_a_pod(fakes):
    place = {"NAME": "ssl", "ZONE": "zone-a", "BUCKET": "images"}
    for words in (["create"], ["copy"], ["mount"], ["run", *RECIPE], ["stop"]):
        assert launch("tpu_pod.sh", *words, **place).returncode == 0
    launch("tpu_pod.sh", "delete", SPOT="1", **place)
    create, copy, install, mount, run, stop, delete = (
        words for words, *_ in calls(fakes, "gcloud")
    )
    tpu = ["compute", "tpus", "tpu-vm"]
    assert create == [*tpu, "create", "ssl", "--accelerator-type", "v5litepod-256"] + [
        "--version", "v2-alpha-tpuv5-lite", "--zone", "zone-a",
    ]  # fmt: skip
    assert copy[:4] == [*tpu, "scp"] and copy[6:8] == ["ssl:", "--worker=all"]
    for words in (install, mount, run, stop):
        assert words[:6] == [*tpu, "ssh", "ssl", "--worker=all"]
    assert "[tpu,log]" in install[7] and "gcsfuse" in mount[7] and "images" in mount[7]
    assert run[7].endswith(
        "/bin/ssljax pretrain imagenet/simclr --workdir runs/my\\ run  "
        "--devices.distributed"
    )
    for name in ("TFDS_DATA_DIR", "JAX_COMPILATION_CACHE_DIR", "LIBTPU_INIT_ARGS"):
        assert f"{name}=" in run[7]
    assert "pkill -TERM" in stop[7]
    assert delete == [*tpu, "delete", "ssl", "--quiet", "--zone", "zone-a"]
    launch("tpu_pod.sh", "create", SPOT="1", **place)
    assert "--spot" in calls(fakes, "gcloud")[-1][0]


@pytest.mark.slow
def test_a_pod_is_checked_as_it_will_run(fakes):
    place = {"NAME": "ssl", "ZONE": "zone-a", "WANDB_API_KEY": "secret"}
    assert launch("tpu_pod.sh", "doctor", *RECIPE, **place).returncode == 0
    assert launch("tpu_pod.sh", "run", *RECIPE, **place).returncode == 0
    assert launch("tpu_pod.sh", "copy", **place).returncode == 0
    check, run, copy, _ = (words for words, *_ in calls(fakes, "gcloud"))
    assert check[7] == run[7].replace("ssljax pretrain ", "ssljax doctor ")
    # Compiled programs outlive the slice, and no command line shows the key.
    assert "JAX_COMPILATION_CACHE_DIR=$HOME/bucket/jax-cache" in run[7]
    assert "export WANDB_API_KEY=$(cat ../.wandb-key)" in run[7]
    assert copy[5].endswith("/.wandb-key") and copy[6:8] == ["ssl:", "--worker=all"]
    assert "secret" not in (fakes / "log").read_text().replace(
        '"WANDB_API_KEY": "secret"', ""
    )


GONE = ["ERROR: (gcloud...describe) NOT_FOUND: no such resource", 1]
QUEUED, ACTIVE, TAKEN = (
    [state, 0] for state in ("WAITING_FOR_RESOURCES", "ACTIVE", "SUSPENDED")
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("states", "checks", "runs", "code", "made"),
    [
        ([GONE, QUEUED, ACTIVE], [0], [0], 0, 1),
        # Preempted: another slice. The machine was checked before.
        ([GONE, ACTIVE, TAKEN, GONE, ACTIVE], [0], [75, 0], 0, 2),
        # All processes stopped, but the slice is there: the same run again.
        ([ACTIVE], [0], [75, 0], 0, 0),
        ([ACTIVE], [0], [255, 0], 0, 0),
        # A code of its own, from a slice that was taken away meanwhile.
        ([ACTIVE, TAKEN, TAKEN, GONE, ACTIVE], [0], [1, 0], 0, 1),
        ([ACTIVE], [0], [1], 1, 0),
        ([ACTIVE], [2], [0], 2, 0),
        ([ACTIVE], [0], [75], 75, 0),
    ],
)
def test_a_queued_slice_is_replaced_until_the_run_is_done(
    states, checks, runs, code, made, fakes
):
    replies = {"describe": states}
    replies["ssljax doctor"] = [["", check] for check in checks]
    replies["ssljax pretrain"] = [["", run] for run in runs]
    (fakes / "log.replies").write_text(json.dumps(replies))
    place = {"NAME": "ssl", "ZONE": "zone-a", "BUCKET": "images", "SPOT": "1"}
    place |= {"POLL": "0", "SETTLE": "0", "MAX_RESTARTS": "3"}
    done = launch("tpu_queued.sh", *RECIPE, **place)
    assert done.returncode == code, done.stderr
    words = [words for words, *_ in calls(fakes, "gcloud")]
    queue = [each[3:] for each in words if each[2] == "queued-resources"]
    created = [each for each in queue if each[0] == "create"]
    assert created == made * [
        ["create", "ssl", "--node-id", "ssl", "--accelerator-type", "v5litepod-256"]
        + ["--runtime-version", "v2-alpha-tpuv5-lite", "--spot", "--zone", "zone-a"]
    ]
    assert queue[-1] == ["delete", "ssl", "--force", "--quiet", "--zone", "zone-a"]
    started = [each[7] for each in words if "bin/ssljax" in str(each)]
    doctors = [each for each in started if "ssljax doctor" in each]
    assert len(doctors) == 1 and "--steps 0" in doctors[0]
    assert len(started) - 1 == (0 if checks == [2] else 3 if code == 75 else len(runs))


def test_a_pod_needs_a_name(fakes):
    done = launch("tpu_pod.sh", "delete", ZONE="z")
    assert done.returncode != 0 and "NAME" in done.stderr


@pytest.mark.parametrize(
    "code, restarts, again",
    [
        ("0", "0", 0),
        ("1", "0", 0),
        ("75", "0", 1),
        ("75", "50", 0),
        ("137", "0", 0),
        ("143", "49", 1),
    ],
)
def test_slurm_queues_a_preempted_run_again(code, restarts, again, fakes):
    done = launch(
        "slurm.sbatch",
        *RECIPE,
        FAKE_SRUN=code,
        SLURM_RESTART_COUNT=restarts,
        SLURM_JOB_ID="7",
        SLURM_SUBMIT_DIR=str(fakes / "check out"),
        SLURM_CPUS_PER_TASK="12",
        XLA_FLAGS="--own=1",
    )
    assert done.returncode == int(code)
    ((words, environment, folder),) = calls(fakes, "srun")
    command = [".venv/bin/ssljax", "pretrain", *RECIPE, "--devices.distributed"]
    assert words == ["--kill-on-bad-exit=0", "--cpus-per-task=12", *command]
    assert environment["XLA_FLAGS"] == "--own=1"  # as given
    assert {"TFDS_DATA_DIR", "JAX_COMPILATION_CACHE_DIR"} <= environment.keys()
    assert folder == str(fakes / "check out")
    assert [words for words, *_ in calls(fakes, "scontrol")] == [
        ["requeue", "7"]
    ] * again


@pytest.mark.slow
def test_slurm_checks_with_the_same_tasks(fakes):
    place = {"COMMAND": "doctor", "SLURM_SUBMIT_DIR": str(fakes / "check out")}
    done = launch("slurm.sbatch", *RECIPE, FAKE_SRUN="2", SLURM_JOB_ID="7", **place)
    assert done.returncode == 2
    ((words, *_),) = calls(fakes, "srun")
    assert words[2:] == [".venv/bin/ssljax", "doctor", *RECIPE, "--devices.distributed"]


def over_ssh(fakes, hosts="a b c", **variables):
    return {
        "HOSTS": hosts,
        "REPO": str(fakes / "check out"),
        "PORT": PORT,
    } | variables


@pytest.mark.parametrize(
    "codes, result",
    [("0 0 0", 0), ("0 75 0", 75), ("75 75 1", 1), ("1 75 75", 1), ("0 0 137", 137)],
)
def test_every_machine_gets_its_process(codes, result, fakes):
    place = over_ssh(fakes, FAKE_SSLJAX=codes, XLA_FLAGS="--own=1 --other=2")
    done = launch("nodes_ssh.sh", *RECIPE, **place)
    assert done.returncode == result, done.stderr
    runs = sorted(calls(fakes, "ssljax"), key=lambda call: call[0][-1])
    for index, (words, environment, folder) in enumerate(runs):
        assert words == ["pretrain", *RECIPE, "--devices.coordinator"] + [
            f"a:{PORT}", "--devices.processes", "3",
            "--devices.process", str(index),
        ]  # fmt: skip
        assert environment["XLA_FLAGS"] == "--own=1 --other=2"
        assert environment["TFDS_DATA_DIR"] == f"{fakes}/tensorflow_datasets"
        assert folder == place["REPO"]
    assert len(runs) == 3
    assert sorted(words[1] for words, *_ in calls(fakes, "ssh")) == ["a", "b", "c"]


@pytest.mark.slow
def test_the_key_of_a_logger_is_handed_on_unseen(fakes):
    place = over_ssh(fakes, hosts="a b", COMMAND="doctor", WANDB_API_KEY="secret")
    assert launch("nodes_ssh.sh", *RECIPE, **place).returncode == 0
    runs = calls(fakes, "ssljax")
    assert [words[0] for words, *_ in runs] == ["doctor"] * 2
    assert [seen["WANDB_API_KEY"] for _, seen, _ in runs] == ["secret"] * 2
    assert not any("secret" in str(words) for words, *_ in calls(fakes, "ssh"))
    assert not list(Path("/tmp").glob(f"ssljax-{PORT}-*.key"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=str)
def test_a_signal_reaches_every_machine(number, fakes):
    place = over_ssh(fakes, FAKE_RUN="wait", hosts="a b")
    # A shell that was started with a signal ignored cannot catch it, and behind `&`
    # SIGINT is.
    restore = f"import os, signal, sys; signal.signal({int(number)}, signal.SIG_DFL)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{restore}; os.execvp('bash', sys.argv[1:])"]
        + ["bash", str(LAUNCH / "nodes_ssh.sh"), *RECIPE],
        env=os.environ | place,
    )
    ready = fakes / "log.ready"
    until = time.monotonic() + 30
    while not ready.exists() or len(ready.read_text()) < 2:
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(timeout=30) == 75
