"""Signals to the whole process group, while a run waits, and `kill -9`."""

import signal

import pytest
from faulty import on_the_page, saved
from interrupted import lines
from signalled import (
    emptied,
    end,
    gate_of,
    left,
    said,
    segments,
    signal_group,
    start_group,
    wait_for_input,
    wait_until,
)

pytestmark = pytest.mark.slow


def one_line(workdir):
    """Return what the command said; Python's helper process may add a warning."""
    (line,) = [x for x in said(workdir).splitlines() if x.startswith("ssljax: ")]
    assert "Traceback" not in said(workdir)
    return line


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGHUP", "SIGINT"])
def test_a_signal_to_the_group_while_the_run_waits_for_input(name, tmp_path):
    workdir = tmp_path / "run"
    process = start_group(workdir)
    try:
        wait_for_input(workdir, process)
        used = segments(process.pid)
        signal_group(process, getattr(signal, name))
        code = process.wait(30)
        line, steps = one_line(workdir), saved(workdir)
        if name == "SIGINT":
            # The truth about the last checkpoint, of every second step.
            assert code == 130 and line.endswith(f"resume from step {max(steps)}")
            assert on_the_page(line, code, {})
        else:
            done = max(record["step"] for record in lines(workdir))
            assert code == 75 and max(steps) == done
            assert f"stopped by {name}; step {done} of 2000 is saved" in line
            assert on_the_page(line, code, {name: "SIGTERM"})
        assert emptied(process.pid, within=10)
        assert used and not left(used)
    finally:
        gate_of(workdir).unlink(missing_ok=True)
        end(process)


def test_a_signal_to_the_group_while_the_step_is_compiled(tmp_path):
    workdir = tmp_path / "run"
    process = start_group(workdir, slow="compile", workers=0)
    try:
        wait_until(workdir.with_suffix(".compiling").exists, process)
        signal_group(process, signal.SIGHUP)
        assert process.wait(20) == 75
        assert on_the_page(one_line(workdir), 75, {})
        assert emptied(process.pid, within=10)
    finally:
        end(process)


def test_workers_die_with_their_parent_and_leave_no_shared_memory(tmp_path):
    workdir = tmp_path / "run"
    process = start_group(workdir)
    try:
        wait_for_input(workdir, process)
        used = segments(process.pid)
        gate_of(workdir).unlink()
        process.kill()
        assert process.wait(10) == -9
        assert emptied(process.pid, within=10)
        assert used and not left(used)
    finally:
        end(process)
