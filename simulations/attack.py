"""`backrow audit attack`: what the strongest attacks show, held against what the run claims."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from backrow.privacy.accounting.gaussian import compose
from backrow.privacy.audit.empirical import Auc, CanaryAudit, auc, canary_audit, largest_auc
from backrow.privacy.audit.sentinels import FALSE_ALARM, pooled_lower_tail_p
from backrow.privacy.errors import ScenarioError
from backrow.privacy.plan import RoundPlan
from backrow.privacy.units import PrivacyClaim
from backrow.simulations.attack_rounds import BoolArray, attacked_run, reference_run
from backrow.simulations.attack_scores import FloatArray, factor_scores, popularity_scores
from backrow.simulations.attack_targets import (
    CraftedCanaries,
    Viewers,
    hosted_devices,
    with_empty_devices,
)
from backrow.simulations.pipeline import Committed, Prepared, commit
from backrow.simulations.population import Population
from backrow.simulations.progress import Observer, Progress, ignore
from backrow.simulations.scenario import Scenario

FEWEST_CANARIES = 16


@dataclass(frozen=True, slots=True)
class Membership:
    """One membership attack on real viewers.

    Attributes:
        sees: what the attacker is given besides all other devices.
        auc: how well she tells members from others.
    """

    sees: str
    auc: Auc


@dataclass(frozen=True, slots=True)
class CanaryAttack:
    """What crafted canaries show in the released sums of one run.

    Attributes:
        audit: the one-run lower bound.
        auc: the same canaries as a membership attack.
        silent_p: how likely honest noise is as small as that on sentinels and on excluded canaries' coordinates, or
            smaller; None where no noise is claimed.
        silent_coordinates: how many those are, over all releases.
    """

    audit: CanaryAudit
    auc: Auc
    silent_p: float | None
    silent_coordinates: int

    def findings(self, claim: PrivacyClaim) -> tuple[str, ...]:
        """What refutes the claim, in sentences; empty if nothing does."""
        audit, found = self.audit, []
        if claim.epsilon is not None and audit.epsilon_lower > claim.epsilon:
            found.append(
                f"the run shows epsilon of at least {audit.epsilon_lower:.2f} with {audit.confidence:.0%} confidence "
                f"({audit.canaries} canaries, delta {audit.delta:g}), more than its claim: {claim}"
            )
        if self.silent_p is not None and self.silent_p < FALSE_ALARM:
            found.append(
                f"the noise on {self.silent_coordinates} coordinates that nobody touched is smaller than claimed "
                f"({p_words(self.silent_p)}): the sums carry less noise than they are accounted for"
            )
        return tuple(found)


@dataclass(frozen=True, slots=True)
class AttackReport:
    """What the attacks on one scenario show.

    Attributes:
        claim: of the whole schedule.
        noise_factor: share of the claimed noise that was really added.
        canaries: crafted canaries against all released sums.
        largest_auc: what the claim's noise allows any membership attack; None where no privacy is claimed.
        membership: attacks on real viewers.
    """

    claim: PrivacyClaim
    noise_factor: float
    canaries: CanaryAttack
    largest_auc: float | None
    membership: tuple[Membership, ...]

    @property
    def findings(self) -> tuple[str, ...]:
        """What refutes the claim; empty if nothing does."""
        return self.canaries.findings(self.claim)

    def to_json(self) -> str:
        """Every figure, indented."""
        fields: dict[str, Any] = asdict(self)
        fields["findings"] = list(self.findings)
        return json.dumps(fields, indent=2, sort_keys=True, allow_nan=False) + "\n"


def attack(
    scenario: Scenario,
    prepared: Prepared,
    *,
    canaries: int = 1000,
    noise_factor: float = 1.0,
    membership: bool = True,
    observe: Observer = ignore,
) -> AttackReport:
    """Attack a scenario's run twice: crafted canaries on the sums, then real viewers on sums and model.

    Args:
        prepared: its data and people.
        canaries: how many crafted devices take part beside them, each included by a fair coin.
        noise_factor: 1 is honest; less shows that the attack finds what it should.
        membership: also attack real viewers (not with trainers `opacus-event` and `sgd`, whose answers it does not
            recompute).

    Raises:
        ScenarioError: too few or too many canaries, or people; or a run that cannot be attacked.
    """
    titles = len(prepared.dataset.catalogue.ids)
    most = min(titles, int(1 / (2 * scenario.privacy.delta)))
    if not FEWEST_CANARIES <= canaries <= most:
        raise ScenarioError(
            f"{canaries} canaries: at least {FEWEST_CANARIES} are needed, and at most {most} fit (a title each, and "
            "no more than 1 / (2 delta))"
        )
    if not 0 <= noise_factor <= 1:
        raise ScenarioError(f"the noise factor is a share between 0 and 1, got {noise_factor}")
    observe(Progress("stage", f"attacking the released sums with {canaries} crafted canaries"))
    extended = replace(prepared, population=with_empty_devices(prepared.population, canaries))
    scenario = scenario.in_the_clear()  # releases are attacked here, at the same claim; masks hide nothing of them
    committed = commit(scenario, extended)
    plans = committed.schedule.rounds
    return AttackReport(
        claim=committed.claim,
        noise_factor=noise_factor,
        canaries=attack_sums(committed, extended.population, canaries, seed=scenario.seed, noise_factor=noise_factor),
        largest_auc=largest_auc(total_mu(plans)) if all(plan.noise_multiplier > 0 for plan in plans) else None,
        membership=attack_viewers(scenario, prepared, canaries, noise_factor, observe) if membership else (),
    )


def attack_sums(
    committed: Committed, population: Population, canaries: int, *, seed: int, noise_factor: float = 1.0
) -> CanaryAttack:
    """One run with crafted canaries, attacked by somebody who knows every other device.

    Args:
        population: the people and at least so many granting devices that have watched nothing.
        seed: of noise, coins and coordinates.
        noise_factor: share of the claimed noise that is really added.

    Raises:
        ScenarioError: more canaries than titles.
        ValueError: too many canaries for the claim's delta (2 m delta > 1).
    """
    crafted = CraftedCanaries.toss(seed, canaries, committed.settings.titles)
    seen = attacked_run(committed, hosted_devices(population), crafted, seed=seed, noise_factor=noise_factor)
    scores = seen.evidence.scores()
    return CanaryAttack(
        audit=canary_audit(scores, crafted.included, committed.schedule.delta),
        auc=_auc(scores, crafted.included),
        silent_p=pooled_lower_tail_p(seen.silent) if seen.silent else None,
        silent_coordinates=sum(len(raw) for raw, _ in seen.silent),
    )


def attack_viewers(
    scenario: Scenario, prepared: Prepared, number: int, noise_factor: float = 1.0, observe: Observer = ignore
) -> tuple[Membership, ...]:
    """Membership attacks on real viewers by somebody who knows everybody else.

    Against the released sums, against the released item factors, and against the released popularity alone.

    Raises:
        ScenarioError: too few people, or a trainer whose answers cannot be recomputed.
    """
    committed, hosted = commit(scenario, prepared), hosted_devices(prepared.population)
    viewers = Viewers.choose(scenario.seed, number, hosted)
    coins = viewers.included
    observe(Progress("stage", f"attacking the membership of {len(coins)} real viewers"))
    seen = attacked_run(committed, hosted, viewers, seed=scenario.seed, noise_factor=noise_factor)
    others = viewers.devices(hosted, np.zeros_like(coins))
    model, reference = seen.program.model(), reference_run(committed, others, seed=scenario.seed).model()
    attacks = {
        "released sums": seen.evidence.scores(),
        "released model: item factors": factor_scores(model, reference, viewers.histories),
        "released model: popularity": popularity_scores(
            model, reference, viewers.histories, committed.schedule.rounds[0].noise_scale
        ),
    }
    return tuple(Membership(sees, _auc(scores, coins)) for sees, scores in attacks.items())


def total_mu(plans: Sequence[RoundPlan]) -> float:
    """Gaussian-DP parameter of all rounds together."""
    return compose(1 / plan.noise_multiplier for plan in plans)


def p_words(p_value: float) -> str:
    """A p-value for people; zero is only what float64 makes of a very small one."""
    return f"p = {p_value:.2g}" if p_value > 1e-300 else "p < 1e-300"


def _auc(scores: FloatArray, included: BoolArray) -> Auc:
    return auc(scores[included], scores[~included])
