"""What the solutions of the last two chapters compute is what the package computes."""

from __future__ import annotations

import numpy as np
import pytest

from medclipsam_utils.exercises import Function, all_exercises
from medclipsam_utils.metrics import bootstrap_interval, paired_test
from medclipsam_utils.weak import EnsemblePrediction, cyclic_poly, entropy, reliability, risk_coverage

EXERCISES = all_exercises()


def solved(number: str):
    """The arguments of each case of an exercise, and what its solution makes of them."""
    asked = EXERCISES[number]
    assert isinstance(asked, Function)
    return [(arguments, asked.solution(*arguments)) for arguments in asked.cases(np.random.default_rng(3))]


def test_the_rate_is_that_of_the_schedule():
    for (step, cycle_length, peak, gamma), rate in solved("08.1"):
        assert rate == pytest.approx(peak * cyclic_poly(step, cycle_length, gamma))


def test_the_ensemble_is_that_of_the_prediction():
    for (members,), (probability, mask) in solved("08.2"):
        found = EnsemblePrediction(members[:, None])
        np.testing.assert_allclose(probability, found.probability[0])
        np.testing.assert_array_equal(mask, found.masks[0])


def test_the_entropy_is_that_of_the_package_also_where_all_is_sure():
    for (probability,), bits in solved("08.3"):
        np.testing.assert_allclose(bits, entropy(probability), atol=1e-9)


def test_the_calibration_error_is_that_of_two_bins():
    for (probability, target), error in solved("08.4"):
        assert error == pytest.approx(reliability(probability, target, bins=2).ece)


def test_the_kept_scores_are_the_curve_of_risk_and_coverage():
    for (uncertainty, scores), kept in solved("08.5"):
        np.testing.assert_allclose(kept, risk_coverage(uncertainty, scores).score)


def test_the_interval_is_that_of_the_bootstrap_up_to_its_draws():
    scores = np.random.default_rng(0).beta(5, 2, 40)
    drawn = np.random.default_rng(1).integers(0, 40, (20_000, 40))
    ours = bootstrap_interval(scores, n_resamples=20_000)
    np.testing.assert_allclose(EXERCISES["07.1"].solution(scores, drawn), [ours.low, ours.high], atol=2e-3)


def test_the_statistic_is_that_of_the_paired_test():
    for (first, second), statistic in solved("07.2"):
        assert statistic == pytest.approx(paired_test(first, second).statistic)


def test_holm_rejects_what_its_step_down_procedure_rejects():
    for (p_values,), corrected in solved("07.3"):
        for level in (0.01, 0.05, 0.3):
            rejected = set()
            for tried, place in enumerate(np.argsort(p_values)):
                if p_values[place] * (len(p_values) - tried) > level:
                    break
                rejected.add(int(place))
            assert rejected == set(np.flatnonzero(corrected <= level).tolist())
