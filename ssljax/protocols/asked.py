"""What every protocol gets: the run, its images and the settings."""

from dataclasses import dataclass

from ssljax.data import Source
from ssljax.protocols.settings import Settings
from ssljax.runs.encoder import Restored
from ssljax.runs.folder import RunFolder


@dataclass(frozen=True)
class Asked:
    """A run to evaluate on a training and a test set."""

    folder: RunFolder
    run: Restored
    train: Source
    """Images that classifiers are fitted on."""
    test: Source
    """Held-out images, which no choice may depend on."""
    settings: Settings
    examples: int | None = None
    """How many training images were asked for, of these and other sets."""
    test_examples: int | None = None
    """Likewise of the test images."""

    @property
    def labelled(self) -> bool:
        """Whether both sets have labels."""
        return self.train.labelled and self.test.labelled

    @property
    def seed(self) -> int:
        """Seed of all that the evaluation draws: that of the run unless one is set."""
        wanted = self.settings.seed
        return self.run.config.seed if wanted is None else wanted
