import numpy as np
import pytest

from medclipsam_utils.exercises import check_function, check_value


def test_a_right_value_is_accepted_within_the_tolerance():
    assert check_value(0.5, 0.5000001, "halve it").solved
    assert not check_value(0.5, 0.51, "halve it").solved
    assert check_value(np.array([1, 0]), [True, False], "order").solved
    assert check_value("P3", "P3", "the table").solved


@pytest.mark.parametrize("wrong", [None, ..., "box", [0.5, 0.5], True, float("nan")])
def test_a_wrong_or_missing_value_gets_the_hint_and_not_the_answer(wrong):
    outcome = check_value(wrong, 0.25, "count the pixels")
    assert not outcome.solved
    assert "count the pixels" in str(outcome) and "0.25" not in str(outcome)


def test_functions_are_tried_on_every_case():
    cases = [((2,), 4), ((3,), 9)]
    assert check_function(lambda x: x**2, cases, "square").solved
    assert "case 2 of 2" in str(check_function(lambda x: 2 * x, cases, "square"))
    assert "returns nothing" in str(check_function(lambda x: None, cases, "square"))
    assert "ZeroDivisionError" in str(check_function(lambda x: x / 0, cases, "square"))


def test_bool_and_number_are_different_answers():
    assert not check_value(1, True, "yes or no").solved
    assert check_value(True, True, "yes or no").solved
