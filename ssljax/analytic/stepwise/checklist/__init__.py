"""The checklist of Simon et al. (2023) on stepwise learning."""

from ssljax.analytic.checklist import Item, Theory
from ssljax.analytic.stepwise.checklist import (
    acceleration,
    batches,
    discrete,
    early,
    finite_width,
    kernel,
    linear,
    optimum,
    spectral_contrastive,
    tangent,
)
from ssljax.analytic.stepwise.checklist.pictures import pictures

THEORY = Theory(
    name="stepwise",
    paper="Simon et al., On the stepwise nature of self-supervised learning, ICML 2023",
    items=(
        Item("1", "the gradient of the loss is 4 (C - I) W Gamma", linear.gradient),
        Item(
            "2",
            "C is W Gamma W^T; views not symmetrised add their twist",
            linear.moments,
        ),
        Item(
            "3",
            "an aligned start follows the closed form in every mode",
            linear.aligned,
        ),
        Item(
            "4",
            "half learned at tau, with the slopes 2 gamma and -2 gamma",
            linear.critical,
        ),
        Item("5", "a small random start follows the QR prediction", linear.small_start),
        Item(
            "6", "the prediction's errors vanish as powers of scale", linear.exponents
        ),
        Item(
            "7",
            "a small start ends at the zero loss of least norm",
            optimum.minimum_norm,
        ),
        Item(
            "8",
            "Hessian 8 gamma, 4 (gamma_i + gamma_j), 0; stable below 1/4",
            optimum.curvature,
        ),
        Item("9", "step counts with and without momentum", optimum.steps),
        Item(
            "10",
            "crops of CIFAR-10: ten pixel modes are learned when predicted",
            optimum.real_images,
            images=True,
        ),
        Item(
            "11", "two forms of the contrastive kernel, its spectrum", kernel.two_forms
        ),
        Item(
            "12",
            "closed-form embedding: kernel, features, training",
            kernel.closed_form_embedding,
        ),
        Item(
            "13",
            "training in function space and in weight space",
            kernel.function_space,
        ),
        Item("14", "equal views: whitened kernel PCA", kernel.kernel_pca),
        Item("15", "analytic ReLU kernel and random networks", tangent.infinite_width),
        Item(
            "16", "a wide network follows its kernel", tangent.wide_network, images=True
        ),
        Item(
            "17",
            "the rich regime and the final kernel",
            tangent.rich_regime,
            images=True,
        ),
        Item(
            "18",
            "spectral contrastive and merged VICReg: flow, minimum, displaced modes",
            spectral_contrastive.spectral_contrastive_and_vicreg,
        ),
        Item("19", "small embeddings under VICReg, NT-Xent and InfoNCE", early.early),
        Item(
            "20",
            "plateaus off one: weighted off-diagonal, small batches",
            early.plateaus,
        ),
        Item(
            "21",
            "left preconditioning saves the wait, right preconditioning the selection",
            acceleration.preconditioned,
        ),
        Item("22", "a power law is learned as t^(1/a) modes", acceleration.power_law),
        Item(
            "23",
            "descent, with momentum too, follows its modified flow at second order",
            discrete.modified_flow,
        ),
        Item(
            "24",
            "the tangent kernel is constant to 1 / sqrt(width) or better",
            finite_width.constancy,
        ),
        Item(
            "25",
            "small batches: mean, variance and half times of the modes",
            batches.fresh_batches,
        ),
    ),
    pictures=pictures,
)
