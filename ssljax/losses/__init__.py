"""Self-supervised losses: pure functions of ``[N, D]`` embeddings.

They know nothing of networks, devices or data. Under ``jax.jit`` with a sharded batch
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
from ssljax.losses.contrastive import (
    dcl,
    dclw,
    info_nce,
    nt_xent,
    spectral_contrastive,
)
from ssljax.losses.covariance import (
    barlow_twins,
    linearized_barlow_twins,
    tcr,
    vicreg,
    vicreg_ctr,
    vicreg_exp,
)
from ssljax.losses.criteria import dimension_contrastive, sample_contrastive
from ssljax.losses.whitening import (
    cw_rgp,
    intl,
    intl_ema,
    iterative_normalization,
    shuffled_dbn,
    spectral_transform,
    trace_loss,
    w_mse,
    whiten,
)

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
