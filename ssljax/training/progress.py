"""What the user watches: one line with speed, waiting time and health."""

import sys
import time
from typing import Any

_SHOWN = {
    "loss": "loss {:.4f}",
    "probe_accuracy": "probe {:.1f} %",
    "knn_accuracy": "kNN {:.1f} %",
    "spectrum/effective_rank": "rank {:.1f}",
}


class Progress:
    """Rates since the last record, and a bar (terminal) or lines (log file)."""

    def __init__(self, total: int, start: int, *, batch_size: int, quiet: bool):
        self.total, self.batch_size, self.quiet = total, batch_size, quiet
        self.bar: Any = None
        self.start = start
        self._since, self._step, self._wait = time.perf_counter(), start, 0.0
        self._shown: dict[str, str] = {}
        self._printed = 0.0

    def __enter__(self) -> "Progress":
        if not self.quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=self.total, initial=self.start, unit="step", dynamic_ncols=True
            )
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def waited(self, seconds: float) -> None:
        """Count time in which the device had nothing to do for want of input."""
        self._wait += seconds

    def advance(self, step: int) -> None:
        """Move the bar to the number of steps that are done."""
        if self.bar is not None:
            self.bar.update(step - self.bar.n)

    def rates(self, step: int) -> dict[str, float]:
        """Images per second and share of input wait since the last record."""
        now = time.perf_counter()
        seconds, steps = now - self._since, step - self._step
        result = {
            "images_per_second": self.batch_size * steps / max(seconds, 1e-9),
            "input_wait": min(self._wait / max(seconds, 1e-9), 1.0),
        }
        self._since, self._step, self._wait = now, step, 0.0
        return result

    def show(self, step: int, record: dict[str, Any]) -> None:
        """Show a record; a log file gets a line at most every five seconds."""
        for key, form in _SHOWN.items():
            if isinstance(record.get(key), int | float):
                self._shown[key] = form.format(record[key])
        text = ", ".join(self._shown.values())
        if self.bar is not None:
            self.bar.set_postfix_str(
                f"{record['images_per_second']:.0f} images/s, "
                f"input wait {100 * record['input_wait']:.0f} %, {text}"
            )
            return
        now = time.perf_counter()
        if self.quiet or (now - self._printed < 5 and step != self.total):
            return
        self._printed = now
        rate = record["images_per_second"] / self.batch_size
        left = (self.total - step) / max(rate, 1e-9)
        print(
            f"step {step}/{self.total}, epoch {record['epoch']:.1f}, "
            f"{record['images_per_second']:.0f} images/s, "
            f"input wait {100 * record['input_wait']:.0f} %, "
            f"{int(left // 60)}:{int(left % 60):02d} left, {text}",
            flush=True,
        )
