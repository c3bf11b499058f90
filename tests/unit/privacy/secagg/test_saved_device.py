"""A device that is saved and restored, at any point, goes on as if nothing had been; damaged bytes are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backrow.privacy.errors import MalformedMessageError, SecureSumError
from backrow.privacy.secagg import state
from backrow.privacy.secagg.device import SecureDevice
from backrow.privacy.secagg.state import STATES, Advertised, Shared
from backrow.privacy.signing import SigningKey
from tests.secure_sums import run_of

NAME = "d0002"
KEY = run_of(5).keys[NAME]


def saved_after_each_step() -> list[bytes]:
    run, found = run_of(5), []
    for step in (1, 2, 3, 4, 5):
        run.take(step, run.step(step))
        found.append(run.devices[NAME].save())
    return found


SAVED = saved_after_each_step()
each_step = pytest.mark.parametrize("saved", SAVED, ids=[f"after-{step}" for step in (1, 2, 3, 4, 5)])


def test_every_state_is_tried_here() -> None:
    assert sorted(STATES) == [1, 2, 3, 4, 5]
    assert [SecureDevice.restore(saved, KEY).state.NUMBER for saved in SAVED] == [1, 2, 3, 4, 5]


def test_a_run_in_which_every_device_restarts_after_every_step_is_the_same_run() -> None:
    one, other = run_of(20, dropped={"d0003": 3}), run_of(20, dropped={"d0003": 3}, saved=True)
    np.testing.assert_array_equal(one.finish().values, other.finish().values)
    assert (one.sent, one.replies) == (other.sent, other.replies)


@each_step
def test_a_restored_device_is_the_one_that_was_saved(saved: bytes) -> None:
    again = SecureDevice.restore(saved, KEY)
    assert again.save() == saved


@each_step
def test_another_identity_key_does_not_open_it(saved: bytes) -> None:
    with pytest.raises(SecureSumError, match="another identity key"):
        SecureDevice.restore(saved, SigningKey(b"x" * 32))


@each_step
def test_what_was_cut_off_or_has_more_is_refused(saved: bytes) -> None:
    for damaged in (b"", saved[:-1], saved + b"\0", saved[:3], saved + bytes(4)):
        with pytest.raises(MalformedMessageError):
            SecureDevice.restore(damaged, KEY)


@given(st.sampled_from(SAVED), st.data())
def test_a_part_that_is_missing_repeated_or_replaced_is_refused_by_name(saved: bytes, data: st.DataObject) -> None:
    parts = state.part(saved)
    place = data.draw(st.integers(0, len(parts) - 1))
    new = data.draw(st.lists(st.binary(max_size=40) | st.sampled_from(parts), max_size=2))
    changed = state.join([*parts[:place], *new, *parts[place + 1 :]])
    try:
        device = SecureDevice.restore(changed, KEY)
    except (SecureSumError, MalformedMessageError):
        return
    assert device.save() == changed


@given(st.sampled_from(SAVED), st.data())
def test_a_changed_byte_is_refused_by_name_or_gives_a_whole_device(saved: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(saved) - 1))
    changed = saved[:place] + bytes([saved[place] ^ data.draw(st.integers(1, 255))]) + saved[place + 1 :]
    try:
        device = SecureDevice.restore(changed, KEY)
    except (SecureSumError, MalformedMessageError):
        return
    assert device.save() == changed


@each_step
def test_a_device_and_its_state_print_no_secret(saved: bytes) -> None:
    device = SecureDevice.restore(saved, KEY)
    for text in (repr(device), str(device), repr(device.state)):
        for name in ("mask_secret", "seal_secret", "mask_keys", "box_keys", "own_key", "seeds", "keys"):
            secret = getattr(device.state, name, b"")
            for part in secret if isinstance(secret, tuple) else [secret]:
                assert not part or (repr(part) not in text and part.hex() not in text)


def test_a_device_forgets_its_mask_keys_once_the_vector_is_masked() -> None:
    advertised, shared = (SecureDevice.restore(saved, KEY).state for saved in SAVED[:2])
    assert isinstance(advertised, Advertised)
    assert isinstance(shared, Shared)
    assert not any(advertised.mask_secret in saved or advertised.seal_secret in saved for saved in SAVED[1:])
    for secret in (*shared.mask_keys, *shared.box_keys, shared.own_key):
        assert [secret in saved for saved in SAVED] == [False, True, False, False, False]
