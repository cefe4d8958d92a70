"""The comparator of the forward's tests: a wrong result must not pass for lack of a number."""

import numpy as np
import pytest

from closeness import nmse, same_bits

REFERENCE = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_none_is_infinitely_far(bad):
    ours = REFERENCE.copy()
    ours[1, 1] = bad
    assert nmse(ours, REFERENCE) == np.inf
    assert not nmse(ours, REFERENCE) <= 1e30


def test_equal_tables_are_at_zero_and_a_known_error_has_its_size():
    assert nmse(REFERENCE, REFERENCE) == 0
    assert nmse(REFERENCE * 1.001, REFERENCE) == pytest.approx(1e-6, rel=1e-3)


@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        (REFERENCE[:1], REFERENCE),  # would broadcast
        (np.empty((0, 2), np.float32), np.empty((0, 2), np.float32)),
        (REFERENCE, np.zeros_like(REFERENCE)),
        (REFERENCE, np.where(REFERENCE > 2, np.nan, REFERENCE)),
    ],
)
def test_what_cannot_be_compared_fails(ours, reference):
    with pytest.raises(AssertionError):
        nmse(ours, reference)


def test_same_bits_sees_one_bit_and_the_sign_of_zero():
    other = REFERENCE.copy()
    other[0, 0] = np.nextafter(other[0, 0], np.float32(2))
    assert same_bits(REFERENCE, REFERENCE.copy())
    assert not same_bits(REFERENCE, other)
    assert not same_bits(np.float32([[0.0]]), np.float32([[-0.0]]))


def test_same_bits_does_not_pass_on_two_equal_nans():
    with pytest.raises(AssertionError):
        same_bits(np.float32([np.nan]), np.float32([np.nan]))
