"""The progress line: speed, waiting time and health of a run."""

import sys
import time
from typing import Any

import jax

from ssljax.runs.step_times import StepTimes

_SHOWN = {
    "loss": "loss {:.4f}",
    "probe_accuracy": "probe {:.1f} %",
    "knn_accuracy": "kNN {:.1f} %",
    "spectrum/effective_rank": "rank {:.1f}",
}


class Progress:
    """Compute rates since the last record; show a bar (terminal) or lines (log file).

    Args:
        total: number of steps of the run.
        start: step that this process starts from.
        batch_size: global batch size.
        quiet: show nothing.
    """

    def __init__(self, total: int, start: int, *, batch_size: int, quiet: bool):
        self.total, self.batch_size, self.quiet = total, batch_size, quiet
        self.bar: Any = None
        self.start = start
        self._since, self._step = time.perf_counter(), start
        self._wait = self._excluded = 0.0
        self._shown: dict[str, str] = {}
        self._printed = 0.0
        self._times, self._arrived = StepTimes(), self._since

    def __enter__(self) -> "Progress":
        if not self.quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=self.total, initial=self.start, unit="step", dynamic_ncols=True
            )
        return self

    def __exit__(self, *exc: object) -> None:
        self._times.close()
        if self.bar is not None:
            self.bar.close()

    def waited(self, seconds: float) -> None:
        """Add time in which the device waited for input; it is here now."""
        self._wait += seconds
        self._arrived = time.perf_counter()

    def queued(self, result: Any) -> None:
        """Time the step of that input from a thread, see `StepTimes`."""
        self._times.add(self._arrived, result)

    def exclude(self, seconds: float) -> None:
        """Exclude time spent on monitoring from the rates."""
        self._excluded += seconds

    def advance(self, step: int) -> None:
        """Move the bar to the number of steps done."""
        if self.bar is not None:
            self.bar.update(step - self.bar.n)

    def rates(self, step: int) -> dict[str, float]:
        """Return what the steps since the last record took.

        These are images per second, the share of input wait, percentiles of the steps'
        seconds, and where a device tells it, its memory.
        """
        now = time.perf_counter()
        seconds, steps = now - self._since - self._excluded, step - self._step
        result = {
            "images_per_second": self.batch_size * steps / max(seconds, 1e-9),
            "input_wait": min(self._wait / max(seconds, 1e-9), 1.0),
        }
        # The time of a process's first record is mostly compilation, not a rate.
        compiling = self._step == self.start
        self._since, self._step, self._wait, self._excluded = now, step, 0.0, 0.0
        times = self._times.take()
        if compiling:
            return {"startup_seconds": seconds}
        return result | times | device_memory()

    def show(self, step: int, record: dict[str, Any]) -> None:
        """Show a record; a log file gets a line at most every five seconds."""
        for key, form in _SHOWN.items():
            if isinstance(record.get(key), int | float):
                self._shown[key] = form.format(record[key])
        text = ", ".join(self._shown.values())
        if self.bar is not None:
            self.bar.set_postfix_str(f"{_speed(record)}, {text}")
            return
        now = time.perf_counter()
        if self.quiet or (now - self._printed < 5 and step != self.total):
            return
        self._printed = now
        rate = record.get("images_per_second", 0.0) / self.batch_size
        left = (self.total - step) / rate if rate else 0.0
        eta = f"{int(left // 60)}:{int(left % 60):02d} left, " if rate else ""
        print(
            f"step {step}/{self.total}, epoch {record['epoch']:.1f}, {_speed(record)}, "
            f"{eta}{text}",
            flush=True,
        )


def device_memory() -> dict[str, float]:
    """Return the memory in use and its peak so far, in GiB, on the fullest device here.

    Empty where the devices do not say, such as CPUs.

    >>> device_memory()
    {}
    """
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    names = {"device_memory_gib": "bytes_in_use"}
    names["device_memory_peak_gib"] = "peak_bytes_in_use"
    return {
        name: max(each[key] for each in stats) / 2**30
        for name, key in names.items()
        if all(key in each for each in stats)
    }


def _speed(record: dict[str, Any]) -> str:
    if "images_per_second" not in record:
        return f"started in {record['startup_seconds']:.0f} s"
    return (
        f"{record['images_per_second']:.0f} images/s, "
        f"input wait {100 * record['input_wait']:.0f} %"
    )
