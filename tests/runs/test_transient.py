"""A run whose images cannot be read for a while saves its state and exits with 75."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from faulty import TINY, Runs, ended, on_the_page, saved
from interrupted import STEPS, lines, losses
from signalled import GatedReader, gated

from ssljax.config import DataConfig
from ssljax.data.retry import gave_up
from ssljax.data.source import Examples
from ssljax.runs.pretrain import pretrain


class Lost(GatedReader):
    """Give up at the sixth batch; before the first the mean is measured."""

    calls = itertools.count(1)

    def many(self, indices):
        if next(self.calls) == 7:
            raise gave_up("DATA/a.png cannot be read (Input/output error)")
        pairs = [self(index) for index in indices]
        labels = np.array([label for _, label in pairs], np.int32)
        return Examples(np.stack([image for image, _ in pairs]), labels)


@pytest.mark.slow
def test_a_disk_that_fails_for_a_while_loses_no_step(tmp_path, capfd, monkeypatch):
    config = replace(TINY, data=DataConfig("arrays", workers=0))
    source, run = gated(tmp_path / "run"), Runs(tmp_path / "run")
    failing = replace(source, read=Lost(source.read.gate))
    code, line = ended(lambda: run(config, failing), capfd, monkeypatch)
    assert code == 75 and on_the_page(line, code, {})
    assert max(saved(run.workdir)) == 5 == len(lines(run.workdir))
    run(config, source)
    assert [record["step"] for record in lines(run.workdir)] == STEPS
    pretrain(config, tmp_path / "whole", train=source, quiet=True)
    assert losses(run.workdir) == losses(tmp_path / "whole")
