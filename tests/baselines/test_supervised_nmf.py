"""Supervised dictionaries: what can be told apart exactly, and what must hold always."""

from __future__ import annotations

import numpy as np
import pytest

from sepcli.baselines.masks import Array
from sepcli.baselines.supervised_nmf import learn, separate


def disjoint(seed: int = 0) -> tuple[Array, Array]:
    """Atoms (3, 16) and (2, 16) without a place in common."""
    rng = np.random.default_rng(seed)
    first, second = np.zeros((3, 16)), np.zeros((2, 16))
    first[:, :8], second[:, 8:] = rng.uniform(0.1, 1.0, (3, 8)), rng.uniform(0.1, 1.0, (2, 8))
    return first, second


def test_atoms_without_a_place_in_common_separate_exactly() -> None:
    dictionaries = disjoint()
    rng = np.random.default_rng(1)
    sources = np.stack([rng.uniform(0.1, 2.0, (5, len(atoms))) @ atoms for atoms in dictionaries], axis=1)
    np.testing.assert_allclose(separate(sources.sum(1), dictionaries), sources, atol=1e-9)


def test_sources_that_share_places_are_told_apart_by_their_atoms() -> None:
    dictionaries = (np.array([[1.0, 1.0, 0.0]]), np.array([[0.0, 1.0, 1.0]]))
    sources = np.array([[[2.0, 2.0, 0.0], [0.0, 0.5, 0.5]]])
    np.testing.assert_allclose(separate(sources.sum(1), dictionaries, 300), sources, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_sources_sum_to_the_mixture_even_where_no_atom_is(count: int) -> None:
    mixtures = np.random.default_rng(2).uniform(0.0, 1.0, (4, 16))
    mixtures[1] = 0.0
    atoms = disjoint()[0]
    parts = separate(mixtures, [atoms] * count)
    assert parts.shape == (4, count, 16)
    assert (parts >= 0.0).all()
    np.testing.assert_allclose(parts.sum(1), mixtures)
    np.testing.assert_allclose(parts[:, :, 8:], np.repeat(mixtures[:, None, 8:] / count, count, axis=1))


def test_an_item_does_not_depend_on_its_batch() -> None:
    mixtures = np.random.default_rng(3).uniform(0.0, 1.0, (4, 16))
    np.testing.assert_allclose(
        separate(mixtures, disjoint())[2:3], separate(mixtures[2:3], disjoint()), rtol=1e-9
    )


def test_what_is_learnt_explains_its_examples() -> None:
    atoms, _ = disjoint()
    examples = np.random.default_rng(4).uniform(0.0, 1.0, (60, 3)) @ atoms
    learnt = learn(examples, 3, 400)
    assert learnt.shape == (3, 16)
    assert (learnt >= 0.0).all()
    np.testing.assert_array_equal(learnt, learn(examples, 3, 400))
    beside = np.zeros((1, 16))
    beside[0, 8:] = 1.0
    parts = separate(examples, [learnt, beside])
    assert np.abs(parts[:, 0] - examples).max() < 1e-9  # no other atom has anything there
    left = examples - np.linalg.lstsq(learnt.T, examples.T)[0].T @ learnt
    assert np.sqrt((left**2).mean()) < 0.01 * np.sqrt((examples**2).mean())


def test_no_more_atoms_than_examples() -> None:
    assert learn(np.random.default_rng(5).uniform(0.0, 1.0, (4, 16)), 9).shape == (4, 16)
