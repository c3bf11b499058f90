"""The report's table of those who contribute and those who do not, under the same public model."""

from backrow.simulations.report.page import Line, Table
from backrow.simulations.results import GroupRow, Results
from backrow.simulations.wording import rate

STAYED = "Those who stayed, and those who left"
NAMES = {"everyone": "everyone", "stayed": "stayed: their devices contribute", "left": "left: nothing leaves theirs"}


def stayed_table(results: Results) -> Table | None:
    """How well the model serves either; None where everybody contributes."""
    if not results.groups:
        return None
    lead = (
        "Whoever opted out, withholds, or watches on a child's profile still gets the published model, and her own "
        "device applies it to her own history: recommendations stay personal, and nothing leaves. The model is made "
        "without her."
    )
    foot = (
        "Held-out title in the full catalogue. Popularity: exact counts of everybody, without noise, better than any "
        "private run can have. The groups are different people: compare each with its popularity. How the same people "
        "would be served had nobody left, backrow opt-out-cost says. Ground truth of the simulator, never released."
    )
    head = ("owners", "devices", "HR@10", "NDCG@10", "popularity HR@10", "popularity NDCG@10")
    return Table(STAYED, lead, head, tuple(_line(row) for row in results.groups), names=1, foot=foot, compares=False)


def _line(row: GroupRow) -> Line:
    figures = (row.hr_at_10, row.ndcg_at_10, row.popular_hr_at_10, row.popular_ndcg_at_10)
    return Line((NAMES[row.group], f"{row.devices:,}", *map(rate, figures)))
