"""Errors a caller can act on. Every message says what is wrong and what to do."""


class BackrowError(Exception):
    """Base of every error that backrow raises on purpose; the command line prints it and exits 1."""


class NonFiniteUpdateError(BackrowError):
    """An update holds NaN or infinity and was not sent."""


class UnsafePlanError(BackrowError):
    """A round plan could wrap around, under-noise or contradict itself and is refused."""


class AccountantDisagreementError(BackrowError):
    """Two independent accountants do not agree on epsilon; nothing is run."""


class BudgetExhaustedError(BackrowError):
    """The next release would exceed the committed budget."""


class MalformedMessageError(BackrowError):
    """Bytes from the wire are not a message of this version; nothing of them is used."""


class SignatureError(BackrowError):
    """A signature is missing, damaged or made with another key."""


class BundleError(BackrowError):
    """A model bundle is incomplete, damaged or not signed by the pinned coordinator."""


class VaultError(BackrowError):
    """The encrypted history cannot be used."""


class WrongKeyError(VaultError):
    """The vault was written with another key."""


class DamagedVaultError(VaultError):
    """The vault's file is not what was written."""


class RefusedCallError(BackrowError):
    """A device's own policy refuses what the coordinator asks."""


class ConsentError(BackrowError):
    """Consent cannot be granted as things stand."""


class CohortError(BackrowError):
    """A cohort is too small, names a device twice or names one that is not eligible."""


class BookError(BackrowError):
    """What is asked of a run contradicts its ledger or its archive."""


class LedgerError(BackrowError):
    """The ledger contradicts itself, or what is asked of it."""


class MalformedEntryError(LedgerError):
    """A line is not one canonical entry; nothing of it is used."""


class UnknownEntryError(LedgerError):
    """An entry is of a kind or version that this release of backrow does not know."""


class DamagedLedgerError(LedgerError):
    """The files of a ledger do not belong together: entries are missing, changed, moved or cut off."""


class LedgerInUseError(LedgerError):
    """Another process writes this ledger."""


class ClockError(LedgerError):
    """Time runs backwards from one entry to the next."""


class NoteError(LedgerError):
    """A signed note, a checkpoint or a proof file is not well-formed."""


class ProofError(LedgerError):
    """An inclusion, consistency or absence proof does not prove what it claims."""


class RollbackError(LedgerError):
    """The coordinator offers an older ledger than it has shown before."""


class ForkError(LedgerError):
    """The coordinator has signed two ledgers that do not extend one another. `proof` convinces anybody."""

    def __init__(self, message: str, proof: bytes) -> None:
        super().__init__(message)
        self.proof = proof


class OptOutError(LedgerError):
    """Someone who opted out was asked, or a list is not the one that was committed to."""


class SecureSumError(BackrowError):
    """A round by secure sum asks what would expose somebody, or cannot go on; the device sends nothing more."""


class UnsafeCohortError(SecureSumError):
    """Too few devices, neighbours or survivors, or weaker parameters than the device's own policy."""


class RosterError(SecureSumError):
    """The roster contradicts the committed cohort, the neighbour graph or itself."""


class WeakKeyError(SecureSumError):
    """A key of the roster is of low order, spelled in a second way, or stands there twice."""


class TamperedError(SecureSumError):
    """A sealed box, a share or a masked vector is not what its sender made for this round."""


class OutOfTurnError(SecureSumError):
    """The message belongs to another step than the one the device is at."""


class RepeatedAnswerError(SecureSumError):
    """The device has answered this step and answers no second, different request."""


class SurvivorsError(SecureSumError):
    """The frozen list of survivors contradicts what the device knows, or its neighbours did not sign the same one."""


class VoidRoundError(SecureSumError):
    """Too many devices vanished, or a secret cannot be recovered: the round gives no sum. Its budget stays reserved."""


class SuppressionError(BackrowError):
    """The list of those who opted out is missing or damaged, and nobody is asked; or it does not take a statement."""


class DataError(BackrowError):
    """A data set cannot be found or read, or does not hold what it must."""


class ScenarioError(BackrowError):
    """A scenario file or a command-line setting is not understood."""
