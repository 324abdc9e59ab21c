"""The settings of protocols: defaults that are said twice, and names."""

import pytest

from ssljax.config.checks import ConfigError
from ssljax.evaluation.knn import KS
from ssljax.evaluation.table import PROTOCOLS as ON_FEATURES
from ssljax.protocols.evaluate import _MODULES
from ssljax.protocols.settings import PROTOCOLS, WITHOUT_LABELS, Settings


def test_the_defaults_are_those_of_the_functions():
    # Not imported there: the help of the command must not load JAX.
    assert tuple(Settings().k) == KS


def test_every_protocol_is_computed_somewhere():
    assert {*ON_FEATURES, *_MODULES} == set(PROTOCOLS) >= set(WITHOUT_LABELS)


def test_an_unknown_name_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match="'layer' is unknown.*mean 'layers'"):
        Settings(protocol=["layer"])
    with pytest.raises(ConfigError, match="no setting 'shot'.*did you mean 'shots'"):
        Settings.of({"shot": [1]})
