"""The noise of one round, drawn while its nodes still train: it depends on the plan alone."""

from collections.abc import Callable

from backrow.privacy.correlated import noise_at
from backrow.privacy.plan import Noise, RoundPlan
from backrow.privacy.randomness import RandomSource
from backrow.privacy.wire import IntArray


class DrawnNoise:
    """What the coordinator adds to one sum. It can be taken once: no two sums ever carry the same noise.

    Args:
        random: the source of the noise; a seeded one only for a plan stamped `simulated`.
        earlier: round number to the source of its draws, which noise that is correlated over rounds is made of.

    Raises:
        ValueError: seeded noise for a plan that claims production, or no `earlier` for correlated noise.
    """

    __slots__ = ("_noise", "plan")

    def __init__(
        self, plan: RoundPlan, random: RandomSource, earlier: Callable[[int], RandomSource] | None = None
    ) -> None:
        if random.simulated and not plan.simulated:
            raise ValueError("seeded noise cannot carry a production claim: stamp the plan `simulated`")
        self.plan = plan
        self._noise: list[IntArray | None] = [_drawn(plan, random, earlier)]

    def take(self, plan: RoundPlan) -> IntArray | None:
        """The noise, shape (rows, columns); None where devices have added it.

        Raises:
            ValueError: it was drawn for another plan, or was taken before.
        """
        if plan != self.plan or not self._noise:
            raise ValueError("noise is added once, to the sum of the round that it was drawn for: draw it anew")
        return self._noise.pop()


def _drawn(plan: RoundPlan, random: RandomSource, earlier: Callable[[int], RandomSource] | None) -> IntArray | None:
    rows, columns = plan.query.rows, plan.query.columns
    sequence = plan.correlation
    if sequence is not None:
        if earlier is None:
            raise ValueError("correlated noise is made of the draws of every round of its sequence: pass `earlier`")
        place, draws = sequence.place(plan.round), earlier
        noise = noise_at(
            sequence, place, plan.integer_sensitivity, lambda each: draws(sequence.round_at(each)), rows * columns
        )
        return noise.reshape(rows, columns)
    if plan.noise is Noise.ONCE:
        return plan.sampler().sample(random, rows * columns).reshape(rows, columns)
    return None
