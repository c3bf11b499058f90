"""Did this device watch that title? Asked of its masked upload, of the released sum as well, and of a bare update.

The attacker knows everybody else's answer, the shares of those who work with it, and both answers that the device may
have given: it watched this one title, or nothing. It guesses in 6,000 trials, half of them with the title. Every bound
is held against an interval of five standard errors: a false alarm once in 3.5 million (the seeds are fixed).
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from backrow.client.answers import answer_device
from backrow.client.history import RawHistory
from backrow.privacy.discrete_gaussian import DiscreteGaussian
from backrow.privacy.plan import Aggregation, Noise, RoundPlan
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Query
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg import messages
from backrow.privacy.secagg.device import SecureDevice
from backrow.privacy.secagg.state import Shared
from backrow.privacy.wire import RoundCall
from tests.attacks.guessing import auc, bits_of, learned, optimal
from tests.attacks.malice import VICTIM
from tests.builders import gradient_call, plan
from tests.secure_sums import run_of

TRIALS, TITLES, DEVICES = 6_000, 8, 20
NOTHING = RawHistory(np.zeros(0, np.int32), np.zeros(0))
PLAN: RoundPlan = plan(
    Query.POPULARITY, TITLES, noise_multiplier=1.0, noise=Noise.SHARES, rounding=Rounding.DEVICE_STOCHASTIC,
    aggregation=Aggregation.SECURE, population=DEVICES, minimum=DEVICES, scale=2.0**12, omitted=0.1,
)  # fmt: skip
"""Two of twenty leave their shares out, or tell them to the attacker."""
MU = 1.0
BOUND = optimal(MU)

Int64Array = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trials:
    """Attributes: `title` asked about; `member`; `upload` of the device, before it is masked."""

    title: Int64Array
    member: NDArray[np.bool_]
    upload: Int64Array

    def at_title(self, values: NDArray[np.generic]) -> NDArray[np.float64]:
        """The number in the title's row, in each trial."""
        return values[np.arange(TRIALS), self.title].astype(float)


@cache
def trials(share: float | None = None) -> Trials:
    """Real answers, rounded and noised by the device. Args: `share`: of the noise, if another."""
    random = SeededRandom(1, "membership")
    title, member = random.numpy().integers(0, TITLES, TRIALS), np.arange(TRIALS) % 2 == 0
    call, uploads = RoundCall(PLAN, "", DEVICES, (), {}, {}), []
    if share is not None:
        call = replace(call, plan=replace(PLAN, noise=Noise.ONCE, omitted=0.0))
    for asked, watched in zip(title, member, strict=True):
        history = RawHistory(np.array([asked], np.int32), np.ones(1)) if watched else NOTHING
        values = answer_device(call, history, random).ravel()
        if share is not None:
            values = values + DiscreteGaussian(share).sample(random, TITLES)
        uploads.append(values)
    return Trials(title, member, np.array(uploads))


@cache
def masked(made: Trials) -> NDArray[np.uint32]:
    """The uploads under a device's real masks, fresh ones in each trial."""
    run, random = run_of(DEVICES, dimension=TITLES).until(2), SeededRandom(5, "masks")
    device, boxes = run.devices[VICTIM], run.secure.send_boxes()[VICTIM]
    replies = (with_fresh_masks(device, random).mask(boxes, values)[1] for values in made.upload)
    return np.array([messages.decode_masked(reply, run.session) for reply in replies])


def with_fresh_masks(device: SecureDevice, random: SeededRandom) -> SecureDevice:
    """The same device as if in another round: what is drawn in steps 1 and 2 is drawn again."""
    assert isinstance(device.state, Shared)
    keys = tuple(random.bytes(32) for _ in device.state.mask_keys)
    return replace(device, state=replace(device.state, mask_keys=keys, own_key=random.bytes(32)))


def released(made: Trials, unknown: int, share: float) -> Int64Array:
    """The sum less all that the attacker knows of it: the device's upload, and shares that it does not know."""
    others = DiscreteGaussian(share).sample(SeededRandom(2, "others"), TRIALS * TITLES * (unknown - 1))
    return made.upload + others.reshape(unknown - 1, TRIALS, TITLES).sum(axis=0)


SHARE = PLAN.share_sampler().noise_scale


def test_the_plan_is_one_that_devices_would_be_asked() -> None:
    event = PLAN.event()
    assert getattr(event, "mu") == MU  # noqa: B009
    assert PLAN.share_sampler().noise_scale * np.sqrt(18) > PLAN.integer_sensitivity


def test_a_masked_upload_alone_says_nothing() -> None:
    made = trials()
    centred = masked(made).view(np.int32)
    guesses = {
        "the number": made.at_title(centred),
        "its size": -np.abs(made.at_title(centred)),
        "its lowest byte": made.at_title(masked(made) & np.uint32(255)),
        "all others": -centred.sum(axis=1, dtype=float),
    }
    found = {name: auc(scores, made.member) for name, scores in guesses.items()}
    found["learned"] = learned(bits_of(turned(made, masked(made))), made.member)
    assert all(each.low < 0.5 < each.high for each in found.values()), found
    assert max(each.high - each.low for each in found.values()) < 0.13


def turned(made: Trials, vectors: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The title's number first, so that one regression serves all titles."""
    places = (np.arange(TITLES) + made.title[:, None]) % TITLES
    return np.take_along_axis(vectors, places, axis=1)


@pytest.mark.parametrize("bits", [14, 12])
def test_masks_narrower_than_the_ring_would_be_noticed(bits: int) -> None:
    made = trials()
    narrow = made.upload.astype(np.uint32) + (masked(made) & np.uint32(2**bits - 1))
    assert auc(made.at_title(narrow.view(np.int32)), made.member).low > 0.5
    assert learned(bits_of(turned(made, narrow)), made.member).low > 0.5


def test_masked_upload_and_released_sum_say_no_more_than_the_plan_promises() -> None:
    made = trials()
    scores = made.at_title(released(made, 18, SHARE))  # the likelihood ratio: the two means differ in one coordinate
    assert auc(scores, made.member).low < BOUND
    both = learned(bits_of(turned(made, masked(made)), scores), made.member)
    assert both.low < BOUND


def test_the_attack_reaches_that_bound_so_it_would_notice_a_smaller_noise() -> None:
    made = trials()
    found = auc(made.at_title(released(made, 18, SHARE)), made.member)
    assert found.high > BOUND
    assert found.high - found.low < 0.07
    assert abs(found.value - BOUND) < 0.03
    quarter = trials(SHARE / 4)
    assert auc(quarter.at_title(released(quarter, 18, SHARE / 4)), quarter.member).low > BOUND


def test_more_omissions_than_the_plan_states_are_more_than_it_promises() -> None:
    # Eleven of twenty leave their shares out, not two.
    made = trials()
    assert auc(made.at_title(released(made, 9, SHARE)), made.member).low > BOUND


def test_a_bare_update_says_it_all() -> None:
    made = trials(0.0)
    assert auc(made.at_title(made.upload), made.member).low > 0.95


def test_a_bare_gradient_of_a_whole_history_says_it_too_and_masked_it_does_not() -> None:
    call = gradient_call(rounding=Rounding.DEVICE_STOCHASTIC)
    random, draw = SeededRandom(3, "gradient"), np.random.default_rng(3)
    run = run_of(5, dimension=200).until(2)
    device, boxes = run.devices[VICTIM], run.secure.send_boxes()[VICTIM]
    member, bare, covered = np.arange(800) % 2 == 0, [], []
    for watched in member:
        title, *others = draw.permutation(40)[:9].astype(np.int32)
        titles = np.sort(np.array([title, *others[:7]] if watched else others, np.int32))
        values = answer_device(call, RawHistory(titles, draw.uniform(0.5, 2.0, len(titles))), random)
        bare.append(np.linalg.norm(values[title]))
        _, reply = with_fresh_masks(device, random).mask(boxes, values)
        hidden = messages.decode_masked(reply, device.session).view(np.int32).reshape(values.shape)
        covered.append(np.linalg.norm(hidden[title].astype(float)))
    assert auc(np.array(bare), member).low > 0.95
    found = auc(np.array(covered), member)
    assert found.low < 0.5 < found.high
