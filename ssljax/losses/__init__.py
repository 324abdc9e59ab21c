"""Self-supervised losses: pure functions of ``[N, D]`` embeddings.

They know nothing of networks, devices or data. Under ``jax.jit`` with a sharded batch
they see the global batch; under ``pmap`` or ``shard_map`` gather the embeddings first.
"""

from ssljax.losses.asymmetric import negative_cosine, normalized_mse
from ssljax.losses.contrastive import info_nce, nt_xent
from ssljax.losses.covariance import barlow_twins, vicreg

__all__ = [
    "barlow_twins",
    "info_nce",
    "negative_cosine",
    "normalized_mse",
    "nt_xent",
    "vicreg",
]
