"""Names and draws of photos, and the patch of a case."""

import numpy as np
import pytest
import torch

from dequant.condition.texture_maps import thresholded_gradient_map
from dequant.errors import InputError
from dequant.evaluation.cases import generator_of, partner_of, photo_digest
from dequant.evaluation.protocols import dequantization, inpainting
from tests.support.photos import golden_square


def test_a_photo_draws_the_same_partner_from_any_list() -> None:
    digests = [photo_digest(torch.rand(3, 8, 8)) for _ in range(12)]
    for digest in digests:
        partner = partner_of(digest, digests, seed=0)
        assert partner != digest
        assert partner == partner_of(digest, digests[::-1] + digests, seed=0)
        assert partner == partner_of(digest, [partner, *digests[:3]], seed=0)
    assert len({partner_of(digest, digests, seed=0) for digest in digests}) > 2
    with pytest.raises(InputError, match="two or more"):
        partner_of(digests[0], digests[:1], seed=0)


def test_the_name_of_a_photo_is_its_pixels() -> None:
    rgb = golden_square("plane")
    assert photo_digest(rgb) == photo_digest(rgb + 0.1 / 255)
    assert photo_digest(rgb) != photo_digest(rgb.flip(-1))
    flat = torch.zeros(3, 4, 6)
    assert photo_digest(flat) != photo_digest(flat.reshape(3, 6, 4))


def test_draws_depend_on_the_photo_and_the_seed() -> None:
    first = generator_of("0a", 0).integers(2**62)
    assert first == generator_of("0a", 0).integers(2**62)
    assert len({first, generator_of("0b", 0).integers(2**62), generator_of("0a", 1).integers(2**62)}) == 3


def test_the_patch_is_what_was_recoloured() -> None:
    rgb, rng = golden_square("caps"), np.random.default_rng(0)
    case = inpainting(rgb, rng, texture_map=thresholded_gradient_map, methods="random", texture="off")[0]
    assert case.patch is not None and case.patch.any()
    assert torch.equal((case.asked != rgb).any(0) & ~case.patch, torch.zeros_like(case.patch))
    assert dequantization(rgb, rng, texture_map=thresholded_gradient_map, n_colors=4)[0].patch is None
