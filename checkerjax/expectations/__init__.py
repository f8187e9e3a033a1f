"""Closed forms at random initialisation, for which nothing is drawn: second moments, covariances, spectra, conditions.

Wide limits say so; what is exact at any width says that.
"""

from checkerjax.expectations._conditions import conditions
from checkerjax.expectations._conditions_report import Condition, Conditions
from checkerjax.expectations._covariance import PeriodicCovariance
from checkerjax.expectations._dense import DenseCovariance, dense_covariance
from checkerjax.expectations._expect import expect
from checkerjax.expectations._expectation import Expectation, PeriodNumbers
from checkerjax.expectations._gradients import gradient_covariance
from checkerjax.expectations._kernels import ConditionalSpectrum, conditional_spectrum
from checkerjax.expectations._lattice_distribution import RatioDistribution
from checkerjax.expectations._periodic import covariance
from checkerjax.expectations._second_moments import second_moments

__all__ = [
    "Condition",
    "ConditionalSpectrum",
    "Conditions",
    "DenseCovariance",
    "Expectation",
    "PeriodNumbers",
    "PeriodicCovariance",
    "RatioDistribution",
    "conditional_spectrum",
    "conditions",
    "covariance",
    "dense_covariance",
    "expect",
    "gradient_covariance",
    "second_moments",
]
