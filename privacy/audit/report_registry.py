"""Report 7: the entry for the public registry of deployments of differential privacy.

Laid out as the template of opendp/deployments-registry-data (read in November 2026); None is for the operator to fill
in. Nothing is sent anywhere.
"""

import math
from collections.abc import Mapping
from typing import Any

from backrow.privacy.audit.model import Report
from backrow.privacy.audit.report_claim import counted
from backrow.privacy.audit.report_material import Details, Material
from backrow.privacy.audit.report_parts import Facts, Gap, Piece, Prose, Section, Words, count, figure, when
from backrow.privacy.ledger.entries import EnrolmentEntry, PublicationEntry, ScheduleEntry
from backrow.privacy.ledger.parts import Additions
from backrow.privacy.plan import Aggregation, Noise
from backrow.privacy.units import Adjacency, PrivacyUnit

Tree = dict[str, Any]


def export_registry(
    report: Report, details: Details | None = None, statements: Mapping[str, str] | None = None
) -> Tree:
    """The entry as nested dictionaries of texts, numbers, lists and None; JSON and YAML can hold it.

    Args:
        details: what signed entries add (`Details.of(signed_entries(run, report.key))`).
        statements: the operator's own words (`parse_statements`).
    """
    return registry_of(Material(report, details or Details(), None, statements or {}))


def registry_of(material: Material) -> Tree:
    """`export_registry`, for the report."""
    said, report, epsilon = material.statements, material.report, counted(material)
    return {
        "url_slug": _slug(said.get("name") or report.origin),
        "deployment": {
            "basic": _basic(material),
            "dp_variant": {
                "variant_name": None if epsilon is None else "Approximate DP",
                "data_domain": "One bounded vector of numbers per device and round, computed by the device from its "
                "own watch history.",
                "unprotected_quantities": "Number of enrolled devices, size of each cohort, time of each round, hashes "
                "of code and settings.",
            },
            "privacy_loss": _loss(material, epsilon),
            "deployment_model": _model(material),
            "implementation": _implementation(material),
            "administrative": {
                "evidence_sources": {},
                "status": "Draft",
                "registry_authors": None,
                "tier": None,  # follows from how much of the entry the operator fills in
            },
        },
    }


def registry_section(material: Material) -> Section:
    """Section 7."""
    lead = (
        "Fields of the public registry of deployments. backrow audit export --registry writes them as a file; nothing "
        "is sent anywhere.",
    )
    groups = [
        Facts(tuple(_rows(tree, material)), name.replace("_", " ").capitalize().replace("Dp", "DP"))
        for name, tree in registry_of(material)["deployment"].items()
    ]
    return Section("registry", "7 Entry for the public registry", (Prose(lead), *groups))


def _rows(tree: Tree, material: Material) -> list[tuple[str, Words]]:
    rows: list[tuple[str, Words]] = []
    for name, value in tree.items():
        label = name.replace("_", " ")
        if name == "privacy_parameters":
            terms, total = material.terms, material.total
            said = "no privacy is claimed"
            if value is not None and terms is not None and total is not None:
                said = terms.say(value["epsilon"], total.rounds)
            rows.append((label, (said,)))
        elif isinstance(value, list):
            rows += [row for each in value for row in _rows(each, material)]
        elif not value or not isinstance(value, dict):
            piece: Piece = Gap("for the operator to fill in") if value in (None, "", {}) else f"{value}"
            rows.append((label, (piece,)))
    return rows


def _basic(material: Material) -> Tree:
    said, published = material.statements, _published(material.report)
    stamp = "SIMULATION, protects nobody. " if material.simulated else ""
    return {
        "name": said.get("name"),
        "data_curators": [{"data_curator_name": said.get("controller"), "data_curator_type": said.get("curator_type")}],
        "description": f"{stamp}Sums of bounded answers of devices, and what is made from them without further access "
        f"to data. Ledger {material.report.origin}.",
        "intended_use": said.get("intended_use"),
        "data_product_type": "Machine learning model" if published else "Summary statistics",
        "data_product_region": said.get("region"),
        "data_product_sector": said.get("sector"),
        "publication_date": when(published[-1])[:10] if published else None,
    }


def _loss(material: Material, epsilon: float | None) -> Tree:
    terms, total = material.terms, material.total
    if terms is None or total is None:
        return {"privacy_unit": None, "privacy_parameters": None}
    enrolled = [each.body.devices for each in material.report.others if isinstance(each.body, EnrolmentEntry)]
    claimed = epsilon is not None and math.isfinite(epsilon)
    return {
        "privacy_unit": "User-device-level" if terms.unit is PrivacyUnit.DEVICE else "Event-level",
        "privacy_unit_details": f"Unit {terms.unit}. {_ADJACENT[terms.adjacency]}",
        "number_of_privacy_units": enrolled[-1] if enrolled and terms.unit is PrivacyUnit.DEVICE else None,
        "privacy_parameters": {"epsilon": float(figure(epsilon)), "delta": terms.delta} if claimed else None,
        "privacy_parameters_details": f"Of {count(total.rounds, 'reserved round')} together, whether or not they were "
        f"released; counted independently by the auditor. Terms: {terms.beside(total.rounds)}.",
    }


_ADJACENT = {
    Adjacency.ZERO_OUT: "Two data sets are adjacent if one contribution is replaced by an empty one (zero-out).",
    Adjacency.ADD_OR_REMOVE: "Two data sets are adjacent if one unit is added or removed.",
}


def _model(material: Material) -> Tree:
    plans, policy = material.plans, material.report.policy
    trusted = any(plan.aggregation is Aggregation.TRUSTED for plan in plans)
    once = any(plan.noise in (Noise.ONCE, Noise.CORRELATED) for plan in plans)
    shared = [plan.omitted for plan in plans if plan.noise is Noise.SHARES]
    committed = any(isinstance(each.body, ScheduleEntry) for each in material.report.others)
    adaptive = policy is not None and policy.additions is Additions.ZCDP
    trust = ["The edge that adds answers sees each of them and is trusted."] if trusted else []
    trust += ["The coordinator adds the noise, and is trusted to do so."] if once else []
    trust += [f"At most {100 * min(shared):.3g} % of a sum's devices leave out their noise."] if shared else []
    return {
        "model_name": "Central",
        "model_name_details": "Federated: histories stay on devices; noise is added to the sum of their answers.",
        "trust_assumptions": " ".join(trust),
        "actors": f"Devices and their owners{', which add noise' if shared else ''}; edges, which add answers; the "
        f"coordinator, which {'adds noise, ' if once else ''}releases and keeps the ledger; auditors; everybody who "
        "gets the releases, who need not be trusted.",
        "release_type": "One release" if len(material.report.rounds) == 1 else "Many releases",
        "release_type_details": ("The schedule is committed before its first round. " if committed else "")
        + ("Further rounds may be added within the budget." if adaptive else "No further round may be added."),
        "data_source_type": "Dynamic",
        "data_source_type_details": "Each round asks for what a device holds then; the unit covers all of it.",
        "access_type": "Non-interactive",
        "access_type_details": "Nobody outside can put a question; devices answer known queries only.",
    }


def _implementation(material: Material) -> Tree:
    report, said = material.report, material.statements
    mechanisms = sorted({row.mechanism.value for row in report.rounds})
    counters = sorted({each.accountant for each in material.details.releases.values()})
    return {
        "preprocessing_and_hyperparameter_tuning": said.get("tuning"),
        "mechanisms": f"{', '.join(mechanisms) or 'none yet'}; answers are clipped on the device to a fixed L2 norm.",
        "composition": f"All rounds in one ledger under one budget; accountant {', '.join(counters) or 'not at hand'}; "
        "checked in closed form, by privacy loss distributions and by Rényi divergence.",
        "post_processing": "Models are fitted to the noisy sums only.",
        "justification": None,
        "utility": said.get("utility"),
        "additional_information": f"Signed ledger of {count(report.entries, 'entry', 'entries')}, Merkle root "
        f"{report.root.hex()}; audit {'without findings' if report.passed else 'with findings'}.",
    }


def _published(report: Report) -> tuple[int, ...]:
    return tuple(each.time for each in report.others if isinstance(each.body, PublicationEntry))


def _slug(name: str) -> str:
    letters = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower())
    return "-".join(part for part in letters.split("-") if part)[:80] or "backrow"
