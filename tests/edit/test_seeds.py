"""The seed of a photo's edit."""

from hashlib import sha256

from dequant.edit.seeds import seed_of


def test_a_seed_is_of_the_user_and_of_the_content() -> None:
    digest = sha256(b"a photo").hexdigest()
    assert seed_of(0, 32 * "00") == 1_481_766_923
    found = {seed_of(seed, one) for seed in (0, 1, -1) for one in (digest, "other")}
    assert len(found) == 6 and all(0 <= seed < 2**32 for seed in found)
