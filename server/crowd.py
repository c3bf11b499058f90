"""Whom a release covers, as the ledger says it: numbers and commitments, no names."""

from collections.abc import Sequence

from backrow.privacy.ledger.parts import Crowd, Sampling
from backrow.privacy.ledger.pseudonyms import Commitment, PseudonymList
from backrow.privacy.names import Names
from backrow.privacy.plan import RoundPlan
from backrow.privacy.secagg.parameters import Neighbourhood
from backrow.server.cohort import Cohort


class Crowds:
    """One ledger's view of its cohorts.

    Args:
        epoch_key: 32 secret bytes that pseudonyms are hashed under.

    Attributes:
        devices: of the cohort that was seen last.
    """

    def __init__(self, epoch_key: bytes) -> None:
        self._key = epoch_key
        self._committed: Commitment | None = None
        self.devices = Names.of(())

    def commitment(self, cohort: Cohort) -> Commitment:
        """To the pseudonyms of everyone invited; made anew only for another cohort than the last one."""
        if self._committed is None or self.devices != cohort.devices():
            self.devices = cohort.devices()
            self._committed = PseudonymList(self._key, self.devices).commitment
        return self._committed

    def see(
        self,
        cohort: Cohort,
        participants: int,
        plan: RoundPlan,
        rule: Neighbourhood | None,
        opt_outs: Commitment,
        sealed: int,
        survivors: Sequence[str] | None = None,
    ) -> Crowd:
        """What is recorded of a cohort.

        Args:
            cohort: everyone invited.
            participants: how many are in the sum.
            rule: of the secure sum; None where edges are trusted.
            opt_outs, sealed: the suppression list the cohort was checked against, and when it was sealed.
            survivors: who is in the sum; None where an edge adds and does not say.
        """
        committed = self.commitment(cohort)
        return Crowd(
            invited=cohort.size,
            survived=participants,
            minimum=plan.minimum,
            neighbours=None if rule is None else rule.neighbours,
            threshold=None if rule is None else rule.threshold,
            sampling=Sampling.EVERYBODY,
            participation_bound=1,
            participants_size=committed.size,
            participants_root=committed.root,
            opt_out_root=opt_outs.root,
            opt_out_time=sealed,
            survivors_root=None if survivors is None else PseudonymList(self._key, survivors).commitment.root,
        )
