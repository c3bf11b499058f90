"""What a run that leaves devices out of an earlier one says of itself."""

from pydantic import BaseModel, ConfigDict

from backrow.privacy.units import Adjacency, PrivacyClaim, PrivacyUnit


class Retrained(BaseModel):
    """A run on top of an earlier one, without some of its devices.

    Attributes:
        run: id of the earlier run.
        left_out: how many devices.
        epsilon_before: of everything reserved before; None where no privacy is claimed.
        epsilon_alone: of this run.
        epsilon_together: of both, for a device that stays.
        delta, unit, adjacency: of all three.
        releases_before, releases_alone: how many each covers; both together, their sum.
        simulated: noise came from a seed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    run: str
    left_out: int
    epsilon_before: float | None
    epsilon_alone: float | None
    epsilon_together: float | None
    delta: float
    unit: str
    adjacency: str
    releases_before: int
    releases_alone: int
    simulated: bool

    def sentences(self) -> tuple[str, ...]:
        """For whoever is asked to pay it, and for whoever reads what came out."""
        devices = "1 device is" if self.left_out == 1 else f"{self.left_out:,} devices are"
        before, alone = (self._claim(self.epsilon_before, self.releases_before),
                         self._claim(self.epsilon_alone, self.releases_alone))  # fmt: skip
        together = self._claim(self.epsilon_together, self.releases_before + self.releases_alone)
        return (
            f"{devices} left out of run {self.run} by running it anew from round 1 without them: nothing is subtracted "
            "from the earlier model, and what was released of it stays released",
            f"the earlier run stays spent: {before}",
            f"this run has a ledger and a budget of its own, on top: {alone}",
            f"a device that stays in both pays both: {together}; one that is left out pays the earlier run alone",
        )

    def _claim(self, epsilon: float | None, releases: int) -> PrivacyClaim:
        return PrivacyClaim(
            epsilon, self.delta, PrivacyUnit(self.unit), Adjacency(self.adjacency), releases, self.simulated
        )
