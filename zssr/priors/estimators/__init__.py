"""Priors: networks trained on other pictures, as the first estimate or as initial weights."""

from zssr.priors.estimators.base import Own, Prior, PriorEstimator
from zssr.priors.estimators.enlarging import EnlargingPrior
from zssr.priors.estimators.initial import InitialPrior
from zssr.priors.estimators.joined import Joined
from zssr.priors.estimators.jpeg import JpegPrior
from zssr.priors.estimators.noise import NoisePrior
from zssr.priors.estimators.planes import PlanesPrior
from zssr.priors.estimators.region import RegionPrior

__all__ = [
    "EnlargingPrior", "InitialPrior", "Joined", "JpegPrior", "NoisePrior", "Own", "PlanesPrior", "Prior",
    "PriorEstimator", "RegionPrior",
]  # fmt: skip
