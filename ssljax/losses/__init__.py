"""Self-supervised losses: pure functions of ``[N, D]`` embeddings.

They do not depend on networks, devices or data. Under ``jax.jit`` with a sharded batch
they see the global batch; under ``pmap`` or ``shard_map`` gather the embeddings first.
"""

from ssljax.losses.asymmetric import (
    asymmetric_cosine,
    asymmetric_euclidean,
    isoloss_cosine,
    isoloss_euclidean,
    negative_cosine,
    normalized_mse,
)
from ssljax.losses.contrastive import dcl, dclw, info_nce, nt_xent, spectral_contrastive
from ssljax.losses.covariance import barlow_twins, linearized_barlow_twins, tcr
from ssljax.losses.criteria import dimension_contrastive, sample_contrastive
from ssljax.losses.intl_family import intl, intl_ema, trace_loss
from ssljax.losses.spectral_transforms import (
    iterative_normalization,
    spectral_transform,
    whiten,
)
from ssljax.losses.vicreg_family import vicreg, vicreg_ctr, vicreg_exp
from ssljax.losses.whitening import cw_rgp, shuffled_dbn, w_mse

__all__ = [
    "asymmetric_cosine",
    "asymmetric_euclidean",
    "barlow_twins",
    "cw_rgp",
    "dcl",
    "dclw",
    "dimension_contrastive",
    "info_nce",
    "intl",
    "intl_ema",
    "isoloss_cosine",
    "isoloss_euclidean",
    "iterative_normalization",
    "linearized_barlow_twins",
    "negative_cosine",
    "normalized_mse",
    "nt_xent",
    "sample_contrastive",
    "shuffled_dbn",
    "spectral_contrastive",
    "spectral_transform",
    "tcr",
    "trace_loss",
    "vicreg",
    "vicreg_ctr",
    "vicreg_exp",
    "w_mse",
    "whiten",
]
