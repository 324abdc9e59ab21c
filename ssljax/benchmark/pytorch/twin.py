"""The same training in PyTorch, set up as its users get the most speed from it.

On a GPU: channels-last memory, bfloat16 by autocast, ``torch.compile``, the fused
optimizer, and a loader with workers and pinned memory.
"""

import copy
import importlib.util
import os
import time
from functools import partial
from typing import Any

import jax

from ssljax.benchmark.pytorch.losses import METHODS, torch_loss
from ssljax.benchmark.pytorch.network import parameter_count, torch_network
from ssljax.benchmark.pytorch.views import Batches, Images, lightly_module, transform
from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.data import Source
from ssljax.models.linear_heads import LINEAR_PREDICTORS
from ssljax.training.state import Setup


def check_installed() -> None:
    """Check that PyTorch is there, without loading it.

    Raises:
        ConfigError: if it is not; the message has the command.
    """
    if importlib.util.find_spec("torch") is None:
        raise ConfigError(
            "--against torch needs PyTorch, which is not installed; run "
            "pip install 'ssljax[bench]'"
        )


def check_config(config: Config) -> None:
    """Check that the twin can do the work of a config.

    Args:
        config: with every default filled in.

    Raises:
        ConfigError: one line that names the setting.
    """
    method = config.method
    if method.name not in METHODS:
        raise ConfigError(
            f"--against torch: method.name is {method.name!r}; allowed: "
            f"{', '.join(METHODS)}"
        )
    if method.predictor in LINEAR_PREDICTORS:
        raise ConfigError(
            f"--against torch: method.predictor is {method.predictor!r}; allowed: "
            "layer widths or none"
        )
    if config.augment.sizes is not None:
        raise ConfigError("--against torch compares two views; leave out augment.sizes")
    settings = config.devices
    if settings.engine != "jit" or settings.microbatch is not None:
        raise ConfigError(
            "--against torch compares whole steps: set devices.engine jit and leave "
            "out devices.microbatch"
        )
    if (settings.count or jax.device_count()) != 1:
        raise ConfigError("--against torch compares one device; add --devices.count 1")


class Twin:
    """A network, optimizer and loader in PyTorch that do the work of a run.

    Args:
        setup: static parts of the run.
        source: its images.
        threads: CPU threads of PyTorch; None leaves its choice.

    Raises:
        ConfigError: if PyTorch does not see the device that JAX uses.
    """

    def __init__(self, setup: Setup, source: Source, *, threads: int | None = None):
        import torch  # pyright: ignore[reportMissingImports]
        from torch import nn  # pyright: ignore[reportMissingImports]

        self.torch, self.setup, self.source = torch, setup, source
        config = setup.config
        self.device = _device(torch)
        self.compiled = self.device == "cuda"
        if threads is not None:
            torch.set_num_threads(threads)
        # JAX's default on GPUs, also for float32.
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
        torch.manual_seed(config.seed)
        channels = setup.image_shape[2]
        self.network = self._placed(torch_network(setup.network, channels=channels))
        self.target: Any = None
        if setup.has_target:
            kept = {k: self.network[k] for k in ("encoder", "projector")}
            self.target = copy.deepcopy(nn.ModuleDict(kept)).requires_grad_(False)
        self.probe: Any = None
        if setup.num_classes and config.probe.enabled:
            features = setup.network.encoder.feature_dim
            self.probe = self._placed(nn.Linear(features, setup.num_classes))
        options = dict(config.method.options)
        self.criterion, self.loss_from = torch_loss(
            config.method.name, options, lightly=lightly_module("loss")
        )
        self.optimizers, self.optimizer_note = self._optimizers()
        self._average = torch.optim.swa_utils.get_ema_multi_avg_fn(
            setup.target_momentum
        )
        self.loss = torch.compile(self._loss) if self.compiled else self._loss
        self.views, self.labels = self._fixed_batch()

    def run(self, steps: int) -> float:
        """Return seconds per step on views that are on the device already."""
        self._wait()
        start = time.perf_counter()
        for _ in range(steps):
            self.train(self.views, self.labels)
        self._wait()
        return (time.perf_counter() - start) / steps

    def end_to_end(self, batches: Batches) -> float:
        """Return seconds per step from the images on, as `total_seconds` counts them.

        Args:
            batches: as from `loader`.
        """
        stream = iter(batches)
        following = next(stream)
        self._wait()
        steps, start = 0, time.perf_counter()
        while following is not None:
            views, labels = following
            views = [self._sent(view) for view in views]
            self.train(views, labels.to(self.device, non_blocking=True))
            steps += 1
            following = next(stream, None)
        self._wait()
        return (time.perf_counter() - start) / steps

    def loader(self, *, steps: int) -> tuple[Batches, str]:
        """Return batches of views for ``steps`` steps, and whose transforms make them.

        Raises:
            ImportError: if torchvision does not load.
            RuntimeError: if it was built for another PyTorch.
        """
        setup, config = self.setup, self.setup.config
        made = [
            transform(view, size, setup.mean, setup.std)
            for view, size in zip(setup.views, setup.view_sizes, strict=True)
        ]
        batches = Batches(
            Images(self.source, [each for each, _ in made]),
            batch_size=config.batch_size,
            steps=steps,
            workers=config.data.workers,
            pinned=self.device == "cuda",
        )
        return batches, made[0][1]

    def train(self, views: list[Any], labels: Any) -> Any:
        """Take one step on views ``[N, C, S, S]``; return the loss."""
        loss = self.loss(views, labels)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        if self.target is not None:
            online = [self.network[k] for k in ("encoder", "projector")]
            of_online = [p.detach() for part in online for p in part.parameters()]
            with self.torch.no_grad():
                self._average(list(self.target.parameters()), of_online, 1)
        return loss

    def parameters(self) -> int:
        """Return the number of parameters of the online network."""
        return parameter_count(self.network)

    def flops(self) -> float:
        """Return PyTorch's count of one step, of convolutions and matrix products."""
        from torch.utils.flop_counter import (  # pyright: ignore[reportMissingImports]
            FlopCounterMode,
        )

        with FlopCounterMode(display=False) as counter:
            self._loss(self.views, self.labels).backward()
        return float(counter.get_total_flops())

    def peak_memory(self) -> float | None:
        """Return the peak bytes of PyTorch's tensors, None on a CPU."""
        if self.device == "cpu":
            return None
        return float(self.torch.cuda.max_memory_allocated())

    def describe(self) -> dict[str, str]:
        """Return how the twin is set up."""
        parts = ["channels_last", self.optimizer_note]
        if self.setup.config.model.dtype == "bfloat16":
            parts.append("bfloat16 autocast")
        parts.append("torch.compile" if self.compiled else "eager")
        if self.device == "cpu":
            policy = os.environ.get("OMP_WAIT_POLICY", "active")
            parts.append(f"{self.torch.get_num_threads()} threads, {policy} waiting")
        return {
            "torch": self.torch.__version__,
            "device": self.device,
            "setup": ", ".join(parts),
            "loss": self.loss_from,
        }

    def _loss(self, views: list[Any], labels: Any) -> Any:
        torch, network = self.torch, self.network
        half = self.setup.config.model.dtype == "bfloat16"
        joint = self.setup.joint_forward
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=half):
            passes = [torch.cat(views)] if joint else views
            features = [network["encoder"](x) for x in passes]
            projections = [network["projector"](f) for f in features]
            predictions = [network["predictor"](z) for z in projections]
            targets = []
            if self.target is not None:
                with torch.no_grad():
                    targets = [
                        self.target["projector"](self.target["encoder"](x)).float()
                        for x in passes
                    ]
        predictions = [p.float() for p in predictions]
        if joint:
            predictions = list(predictions[0].chunk(len(views)))
            targets = list(targets[0].chunk(len(views))) if targets else []
        loss = self.criterion(predictions, targets)
        if self.probe is not None:
            seen = features[0][: len(labels)].detach().float()
            loss = loss + torch.nn.functional.cross_entropy(self.probe(seen), labels)
        return loss

    def _optimizers(self) -> tuple[list[Any], str]:
        optim, settings = self.torch.optim, self.setup.config.optimizer
        rate, decay = settings.learning_rate, settings.weight_decay
        make, note = partial(optim.SGD, momentum=settings.momentum), "fused SGD"
        if settings.name == "adamw":
            make, note = partial(optim.AdamW), "fused AdamW"
        elif settings.name != "sgd":
            note = f"fused SGD in place of {settings.name}"
        made = [
            make(self.network.parameters(), lr=rate, weight_decay=decay, fused=True)
        ]
        if self.probe is not None:
            made.append(optim.SGD(self.probe.parameters(), lr=rate, fused=True))
        return made, note

    def _fixed_batch(self) -> tuple[list[Any], Any]:
        torch, setup = self.torch, self.setup
        shape = (setup.config.batch_size, setup.image_shape[2])
        views = [
            self._sent(torch.randn(*shape, side, side)) for side in setup.view_sizes
        ]
        labels = torch.randint(0, setup.num_classes or 1, (shape[0],))
        return views, labels.to(self.device)

    def _placed(self, module: Any) -> Any:
        return module.to(self.device, memory_format=self.torch.channels_last)

    def _sent(self, view: Any) -> Any:
        return view.to(
            self.device, memory_format=self.torch.channels_last, non_blocking=True
        )

    def _wait(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()


def _device(torch: Any) -> str:
    platform = jax.default_backend()
    if platform == "cpu":
        return "cpu"
    if platform == "gpu" and torch.cuda.is_available():
        return "cuda"
    raise ConfigError(
        f"JAX uses {platform}, which PyTorch {torch.__version__} does not see; install "
        "a PyTorch for it, or set JAX_PLATFORMS=cpu to compare on the CPU"
    )
