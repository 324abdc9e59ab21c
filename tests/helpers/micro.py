"""The smallest network, one block of four channels; importing this registers it."""

from ssljax.models.resnet import ARCHS, Arch

# Most tests are about the method, the sharding or the loop, not about depth.
ARCHS["micro"] = Arch((1,), (4,), False, stem_stride=2)
