"""Whom a release covers, as the ledger says it: numbers and commitments, no names."""

from collections.abc import Sequence

from backrow.privacy.ledger.parts import Crowd, Sampling
from backrow.privacy.ledger.pseudonyms import Commitment, PseudonymList
from backrow.privacy.plan import RoundPlan
from backrow.privacy.secagg.parameters import Neighbourhood
from backrow.server.cohort import Cohort


def crowd_of(
    cohort: Cohort,
    participants: int,
    plan: RoundPlan,
    rule: Neighbourhood | None,
    epoch_key: bytes,
    opt_outs: Commitment,
    sealed: int,
    survivors: Sequence[str] | None = None,
    committed: Commitment | None = None,
) -> Crowd:
    """The ledger's view of a cohort.

    Args:
        cohort: everyone invited.
        participants: how many are in the sum.
        rule: of the secure sum; None where edges are trusted.
        epoch_key: 32 secret bytes that pseudonyms are hashed under.
        opt_outs, sealed: the suppression list the cohort was checked against, and when it was sealed.
        survivors: who is in the sum; None where an edge adds and does not say.
        committed: to the cohort, where it is known already.
    """
    committed = committed or PseudonymList(epoch_key, cohort.devices()).commitment
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
        survivors_root=None if survivors is None else PseudonymList(epoch_key, survivors).commitment.root,
    )
