"""The peer's side of cpu_step.py: the same SimCLR step in PyTorch with lightly.

Command:  none; `cpu_step.py --peer PYTHON` starts it with a Python that has torch,
          torchvision and lightly. It imports nothing of this package.
"""

# pyright: reportMissingImports=false
import argparse
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# A torchvision built for another torch fails over operators that nothing here needs.
_library = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    try:
        _library.define(f"{_name}(Tensor a, Tensor b, float c) -> Tensor")
    except RuntimeError:
        pass  # it is defined already

from lightly.loss import NTXentLoss  # noqa: E402
from lightly.models.modules import SimCLRProjectionHead  # noqa: E402
from lightly.transforms import SimCLRTransform  # noqa: E402
from PIL import Image  # noqa: E402


class Block(nn.Module):
    """ResNet's basic block, as in torchvision."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride > 1 or inside != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def encoder(sizes: list[int], widths: list[int], stem_stride: int) -> nn.Module:
    """Build the encoder for CIFAR: a 3x3 stem without max-pool."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, widths[0], 3, stem_stride, 1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(),
    ]
    inside = widths[0]
    for stage, (size, width) in enumerate(zip(sizes, widths, strict=True)):
        for index in range(size):
            layers.append(Block(inside, width, 2 if stage and index == 0 else 1))
            inside = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def main(args: argparse.Namespace) -> None:
    """Take one step per line of input, and print its seconds."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = nn.Sequential(
        encoder(args.sizes, args.widths, args.stem_stride),
        SimCLRProjectionHead(args.widths[-1], args.widths[-1], 128),
    )
    if args.channels_last:
        network = network.to(memory_format=torch.channels_last)
    criterion = NTXentLoss(temperature=0.5)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4
    )
    transform = SimCLRTransform(input_size=32, cj_strength=0.5, gaussian_blur=0.0)
    pixels = np.random.default_rng(0).integers(
        0, 256, (args.batch, 32, 32, 3), dtype=np.uint8
    )
    images = [Image.fromarray(image) for image in pixels]

    def views() -> list[torch.Tensor]:
        pairs = [transform(image) for image in images]
        found = [torch.stack(view) for view in zip(*pairs, strict=True)]
        if args.channels_last:
            found = [v.to(memory_format=torch.channels_last) for v in found]
        return found

    kept = views()

    def step(augment: bool) -> float:
        made = views() if augment else kept
        with torch.autocast(
            "cpu", dtype=torch.bfloat16, enabled=args.dtype == "bfloat16"
        ):
            projections = [network(view) for view in made]
        loss = criterion(*(z.float() for z in projections))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    step(True)
    print("ready", flush=True)
    for line in sys.stdin:
        start, cpu = time.perf_counter(), time.process_time()
        step("augment" in line)
        print(time.perf_counter() - start, time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    parser.add_argument("--widths", type=int, nargs="+", required=True)
    parser.add_argument("--stem-stride", type=int, default=1)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--channels-last", action="store_true")
    main(parser.parse_args())
