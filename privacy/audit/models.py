"""Models are published with releases of this ledger, and the one at hand is the one that was. Pure."""

from backrow.privacy.audit.evidence import Bundle
from backrow.privacy.audit.findings import Fault, Findings
from backrow.privacy.audit.story import Story
from backrow.privacy.ledger.entries import PublicationEntry
from backrow.privacy.ledger.signed_entry import SignedEntry
from backrow.privacy.ledger.tree import sha256


def check_publication(signed: SignedEntry, index: int, story: Story, found: Findings) -> None:
    """One publication against the releases before it."""
    if not isinstance(signed.body, PublicationEntry):
        return
    entry = signed.body
    if not entry.releases:
        found.add(Fault.UNBACKED, f"Entry {index} publishes a model and names no release that it was made from.", index)
    missing = [each for each in entry.releases if each not in story.releases]
    if missing:
        found.add(
            Fault.UNBACKED,
            f"Entry {index} publishes a model and names entry {missing[0]}, which is no release before it.",
            index,
        )
        return
    runs = {story.releases[each].entry.plan.run_id for each in entry.releases}
    if runs - {entry.run}:
        found.add(
            Fault.UNBACKED,
            f"Entry {index} publishes a model of run {entry.run!r} and names releases of {', '.join(sorted(runs))}.",
            index,
        )


def check_bundle(bundle: Bundle, story: Story, found: Findings) -> str:
    """The model at hand against the publications; returns what was compared, in words."""
    if bundle.manifest is None or bundle.model is None:
        found.add(Fault.CHANGED_BUNDLE, "A file of the model bundle is missing: it is not what was published.")
        return "the bundle is incomplete"
    if not story.publications:
        found.add(Fault.UNPUBLISHED, "There is a model bundle in the run folder, but the ledger publishes no model.")
        return "there is a bundle and no publication"
    hashes = sha256(bundle.manifest), sha256(bundle.model)
    for index, entry in story.publications.items():
        if (entry.manifest, entry.model) == hashes:
            return f"the bundle at hand is the one of entry {index}"
    what = [
        name
        for name, own, published in (
            ("manifest", hashes[0], {entry.manifest for entry in story.publications.values()}),
            ("model file", hashes[1], {entry.model for entry in story.publications.values()}),
        )
        if own not in published
    ]
    changed = " and ".join(what) or "combination of manifest and model file"
    found.add(
        Fault.CHANGED_BUNDLE,
        f"The {changed} of the bundle at hand is none that the ledger records as published.",
        *list(story.publications)[-1:],
    )
    return "the bundle at hand was compared with every publication"
