"""The checks of the fingerprint's rates against the closed forms."""

from ssljax.analytic.checklist import Item, Theory
from ssljax.analytic.fingerprint.checklist import predictors, spectra, whitening
from ssljax.analytic.fingerprint.checklist.pictures import pictures

THEORY = Theory(
    name="fingerprint",
    paper=(
        "rates of eigenvalues by automatic differentiation, against the closed forms"
    ),
    items=(
        Item(
            "1",
            "the rates are those of the eigenvalues after a gradient step on all of W",
            spectra.rates_are_derivatives,
        ),
        Item(
            "2",
            "asymmetric Euclidean: 2 lambda p (rho - p), "
            "p = lambda^alpha; IsoLoss: no p",
            predictors.euclidean_rates,
        ),
        Item(
            "3",
            "cosine losses conserve sum s, and IsoLoss sum s^(1 + alpha)",
            predictors.cosine_conservation,
        ),
        Item(
            "4",
            "cosine losses of two modes: the integral over directions",
            predictors.cosine_of_two_modes,
            seeded=False,
        ),
        Item(
            "5",
            "cosine losses at isotropy: "
            "rate 2 alpha / ((M + 2) s*), IsoLoss / s*^alpha",
            predictors.cosine_isotropic_rate,
            seeded=False,
        ),
        Item(
            "6",
            "no predictor, no stop-gradient, or the wrong one: collapse at known rates",
            predictors.collapse_without_predictor,
        ),
        Item(
            "7",
            "linearised Barlow Twins: 8 gamma lambda (1 - lambda) in the spectrum of C",
            spectra.linearized_barlow_twins_rates,
        ),
        Item(
            "8",
            "spectral contrastive: 8 lambda (rho - lambda), fixed point rho, error 1/N",
            spectra.spectral_contrastive_rates,
        ),
        Item(
            "9",
            "VICReg at small weights: the hinge's 1 / sqrt(eps) against the invariance",
            spectra.vicreg_small_rates,
        ),
        Item(
            "10",
            "g = lambda^-p: dL / d log lambda = 2 h' lambda (1 - rho), 0 at p = 1/2",
            whitening.power_transform_forces,
        ),
        Item(
            "11",
            "whitening exerts no force on the spectrum",
            whitening.whitening_has_no_force,
        ),
        Item(
            "12",
            "IterNorm's force is that of the recursion h_T",
            whitening.iterative_normalization_rates,
        ),
        Item(
            "13",
            "both criteria of the duality, with the norms by which they differ",
            spectra.duality_rates,
        ),
        Item(
            "14",
            "Barlow Twins, VICReg, VICReg-exp, trace loss at any spectrum",
            spectra.closed_forms,
        ),
        Item(
            "15",
            "the record: rest, growth, exponent, threshold, equalisation",
            spectra.the_record,
        ),
    ),
    pictures=pictures,
)
