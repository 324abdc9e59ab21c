"""Evaluate frozen features, and measure embeddings without labels."""

from ssljax.evaluation.collapse import Collapse, Thresholds, diagnose
from ssljax.evaluation.features import extract, raw_pixels
from ssljax.evaluation.few_shot import FewShot, few_shot
from ssljax.evaluation.knn import confusion, knn_accuracy, knn_predict
from ssljax.evaluation.linear import LinearResult, linear_probe
from ssljax.evaluation.logistic import LogisticFit, fit_logistic
from ssljax.evaluation.neighbours import neighbour_votes
from ssljax.evaluation.rank_correlation import RankCorrelation, rank_correlation
from ssljax.evaluation.spectrum import (
    cross_eigenvalues,
    lidar,
    panel,
    rank_measures,
)
from ssljax.evaluation.table import evaluate_features, format_table

__all__ = [
    "Collapse",
    "FewShot",
    "LinearResult",
    "LogisticFit",
    "RankCorrelation",
    "Thresholds",
    "confusion",
    "diagnose",
    "evaluate_features",
    "extract",
    "few_shot",
    "fit_logistic",
    "format_table",
    "knn_accuracy",
    "knn_predict",
    "lidar",
    "linear_probe",
    "neighbour_votes",
    "cross_eigenvalues",
    "panel",
    "rank_correlation",
    "rank_measures",
    "raw_pixels",
]
