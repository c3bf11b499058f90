"""Scenario files: what is understood, and what each mistake is told."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backrow.privacy.errors import ScenarioError
from backrow.simulations.scenario import Scenario
from backrow.simulations.scenario_file import known_keys, load_scenario, make_scenario

EXAMPLES = Path(__file__).parents[3] / "examples"
DATA = '[data]\nname = "ml-100k"\n'


def scenario_file(folder: Path, text: str) -> Path:
    path = folder / "RUN.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str, overrides: Sequence[str] = (), **flags: str) -> list[str]:
    """The sentences of the error, with the file's folder cut away."""
    with pytest.raises(ScenarioError) as caught:
        load_scenario(scenario_file(folder, text), overrides, **flags)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_an_empty_scenario_with_data_is_the_reference(tmp_path: Path) -> None:
    scenario = load_scenario(scenario_file(tmp_path, DATA))
    assert (scenario.seed, scenario.nodes, scenario.engine, scenario.trainer) == (1, 1, "inprocess", "auto")
    assert (scenario.privacy.epsilon, scenario.privacy.delta) == (3.0, 1e-5)
    assert (scenario.privacy.aggregation, scenario.privacy.noise) == (None, None)
    assert scenario.model.rounds is None
    assert scenario.evaluation.protocols == ("full", "ncf")


@pytest.mark.parametrize("name", ["ml-100k", "ml-1m"])
def test_the_examples_are_valid_and_ask_for_epsilon_3(name: str) -> None:
    scenario = load_scenario(EXAMPLES / f"{name}.toml")
    assert scenario.data.name == name
    assert scenario.privacy.epsilon == 3.0


def test_an_unknown_key_gets_a_suggestion(tmp_path: Path) -> None:
    assert refusal(tmp_path, DATA + "[privacy]\nepsilonn = 3\n") == [
        "unknown key privacy.epsilonn in RUN.toml: did you mean privacy.epsilon?"
    ]


def test_a_key_in_the_wrong_section_is_sent_to_the_right_one(tmp_path: Path) -> None:
    assert refusal(tmp_path, "epsilon = 3\n" + DATA) == [
        "unknown key epsilon in RUN.toml: did you mean privacy.epsilon?"
    ]


def test_an_unknown_section_gets_a_suggestion(tmp_path: Path) -> None:
    assert "unknown section privcy in RUN.toml: did you mean privacy?" in refusal(tmp_path, DATA + "[privcy]\nx = 1\n")


def test_an_unknown_word_gets_the_choices_and_a_suggestion(tmp_path: Path) -> None:
    (sentence,) = refusal(tmp_path, 'trainer = "opacu"\n' + DATA)
    assert sentence == (
        "trainer in RUN.toml must be one of auto, sequence, gradient, subspace, sgd, opacus, opacus-event, prior, "
        "got 'opacu': did you mean opacus?"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[privacy]\nepsilon = 0", "privacy.epsilon in RUN.toml must be more than 0, got 0"),
        ("[privacy]\nepsilon = -1.5", "privacy.epsilon in RUN.toml must be more than 0, got -1.5"),
        ("[privacy]\nepsilon = inf", "privacy.epsilon in RUN.toml must be a finite number, got inf"),
        ("[privacy]\nepsilon = nan", "privacy.epsilon in RUN.toml must be a finite number, got nan"),
        ('[privacy]\nepsilon = "much"', "privacy.epsilon in RUN.toml must be a number, got 'much'"),
        ("[privacy]\nepsilon = true", "privacy.epsilon in RUN.toml must be a number, got true"),
        ("[privacy]\ndelta = 0", "privacy.delta in RUN.toml must be more than 0, got 0"),
        ("[privacy]\ndelta = 1.0", "privacy.delta in RUN.toml must be less than 1, got 1"),
        (
            '[privacy]\naggregation = "mixed"',
            "privacy.aggregation in RUN.toml must be one of trusted, secure, got 'mixed'",
        ),
        ("[privacy]\nadversaries = 1.0", "privacy.adversaries in RUN.toml must be less than 1, got 1"),
        ("[cohort]\ndropouts = -0.1", "cohort.dropouts in RUN.toml must be at least 0, got -0.1"),
        ("[cohort]\nwithheld = 1.0", "cohort.withheld in RUN.toml must be less than 1, got 1"),
        ("[consent]\ntaste = -1.5", "consent.taste in RUN.toml must be at least -1, got -1.5"),
        ("[cohort]\nminimum = 0", "cohort.minimum in RUN.toml must be at least 1, got 0"),
        ("[model]\nrounds = 2.5", "model.rounds in RUN.toml must be a whole number, got 2.5"),
        ("[model]\npopularity_share = 0.6\nrecent_share = 0.5", "model in RUN.toml: popularity_share, recent_share"),
        ("[model]\nevaluation_share = 0.9", "model in RUN.toml: popularity_share, recent_share and evaluation_share"),
        ("[model]\nevaluation_share = -0.1", "model.evaluation_share in RUN.toml must be at least 0, got -0.1"),
        ("[event]\nbatch = 200", "event in RUN.toml: batch 200 cannot exceed history 128"),
        ('[evaluation]\nbaselines = "ease"', "evaluation.baselines in RUN.toml must be a list, got 'ease'"),
        ('[evaluation]\nbaselines = ["esae"]', "evaluation.baselines in RUN.toml must be one of popularity, puresvd"),
        ('[evaluation]\nbaselines = ["ease", "ease"]', "evaluation.baselines in RUN.toml: name each of them once"),
        ("[evaluation]\nprotocols = []", "evaluation.protocols in RUN.toml must not be empty"),
    ],
)
def test_a_wrong_value_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    (said,) = refusal(tmp_path, DATA + text + "\n")
    assert said.startswith(sentence)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    sentences = refusal(tmp_path, "nodes = 0\nseed = -1\n" + DATA + "[privacy]\ndelta = 2\n")
    assert [sentence.split()[0] for sentence in sentences] == ["seed", "nodes", "privacy.delta"]


def test_a_section_written_as_a_value_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, "privacy = 3\n" + DATA) == ["privacy in RUN.toml must be a section, [privacy], got 3"]


def test_no_data_names_what_to_add(tmp_path: Path) -> None:
    (sentence,) = refusal(tmp_path, "seed = 1\n")
    assert 'add [data] with name = "ml-100k" or a path' in sentence


@pytest.mark.parametrize(("text", "said"), [("[data]\n", "neither is given"), (DATA + 'path = "x.csv"', "both are")])
def test_exactly_one_of_name_and_path_is_needed(text: str, said: str, tmp_path: Path) -> None:
    (sentence,) = refusal(tmp_path, text)
    assert said in sentence


def test_a_missing_file_and_a_file_that_is_no_toml_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="there is no scenario file"):
        load_scenario(tmp_path / "nothing.toml")
    assert refusal(tmp_path, "seed = [")[0].startswith("RUN.toml is not TOML: ")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScenarioError, match="is not text in UTF-8"):
        load_scenario(binary)


def test_overrides_are_toml_values_and_bare_words(tmp_path: Path) -> None:
    overrides = ["privacy.epsilon=2", "trainer=subspace", 'evaluation.baselines=["ease"]', "evaluation.tuning = true"]
    scenario = load_scenario(scenario_file(tmp_path, DATA), overrides)
    assert scenario.privacy.epsilon == 2.0
    assert scenario.trainer == "subspace"
    assert scenario.evaluation.baselines == ("ease",)
    assert scenario.evaluation.tuning


def test_a_mistake_in_an_override_names_the_override(tmp_path: Path) -> None:
    assert refusal(tmp_path, DATA, ["privacy.epsilon=0"])[0].startswith(
        "privacy.epsilon in --set privacy.epsilon=0 must be more than 0"
    )


@pytest.mark.parametrize(
    "override", ["privacy", "=3", "a b=3", "data.name.x=1", "privacy.epsilon=", "seed=1 2", "seed=[1", "data..name=x"]
)
def test_an_override_that_makes_no_sense_is_refused(override: str, tmp_path: Path) -> None:
    (sentence,) = refusal(tmp_path, DATA, [override])
    assert sentence.startswith("--set ")


def test_flags_come_last(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, 'engine = "inprocess"\n' + DATA)
    scenario = load_scenario(path, ["trainer=prior"], data="ml-1m", engine="flower", trainer="opacus")
    assert (scenario.data.name, scenario.engine, scenario.trainer) == ("ml-1m", "flower", "opacus")


def test_a_data_flag_replaces_name_and_path_but_keeps_the_rest(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, DATA + 'catalogue = "all"\n')
    scenario = load_scenario(path, data=str(tmp_path / "views.csv"))
    assert scenario.data.name is None
    assert scenario.data.path == tmp_path / "views.csv"
    assert scenario.data.catalogue == "all"


def test_a_relative_path_starts_at_the_scenario_file(tmp_path: Path) -> None:
    scenario = load_scenario(scenario_file(tmp_path, '[data]\npath = "views.csv"\n'))
    assert scenario.data.path == tmp_path / "views.csv"


def test_the_word_none_means_no_privacy_and_survives_writing(tmp_path: Path) -> None:
    scenario = load_scenario(scenario_file(tmp_path, DATA + '[privacy]\nepsilon = "none"\n'))
    assert scenario.privacy.epsilon is None
    assert 'epsilon = "none"' in scenario.to_toml()


def test_a_scenario_cannot_be_changed() -> None:
    scenario = make_scenario({"data": {"name": "ml-100k"}}, "a test")
    with pytest.raises(ValueError, match="frozen"):
        scenario.seed = 2  # type: ignore[misc]


positive = st.floats(min_value=1e-6, max_value=1e6)
tables = st.fixed_dictionaries(
    {"data": st.fixed_dictionaries({"name": st.sampled_from(["ml-100k", "ml-1m"])})},
    optional={
        "seed": st.integers(0, 2**63 - 1),
        "nodes": st.integers(1, 10_000),
        "engine": st.sampled_from(["inprocess", "flower"]),
        "privacy": st.fixed_dictionaries(
            {}, optional={"epsilon": positive | st.just("none"), "delta": st.floats(1e-12, 0.5)}
        ),
        "model": st.fixed_dictionaries({}, optional={"rounds": st.integers(0, 100), "learning_rate": positive}),
        "cohort": st.fixed_dictionaries({}, optional={"minimum": st.integers(1, 10**6), "withheld": st.floats(0, 0.9)}),
        "consent": st.fixed_dictionaries(
            {},
            optional={name: st.floats(0, 0.9) for name in ("opt_outs", "children", "flips", "offline")}
            | {"taste": st.floats(-1, 1)},
        ),
        "evaluation": st.fixed_dictionaries({}, optional={"baselines": st.just([]), "tuning": st.booleans()}),
    },
)


@given(tables)
def test_what_is_written_is_read_back_equal(table: dict[str, Any]) -> None:
    scenario = make_scenario(table, "a test")
    assert make_scenario(tomllib.loads(scenario.to_toml()), "run.toml") == scenario


@pytest.mark.parametrize("place", ['aggregation = "secure"', 'noise = "shares"'])
def test_opacus_refuses_what_needs_each_device_alone(tmp_path: Path, place: str) -> None:
    (sentence,) = refusal(tmp_path, f'trainer = "opacus"\n{DATA}[privacy]\n{place}\n')
    assert "the trainer opacus adds its noise to whole blocks" in sentence


def test_the_written_scenario_is_resolved() -> None:
    scenario = make_scenario({"data": {"name": "ml-100k"}}, "a test")
    written = tomllib.loads(scenario.to_toml())
    flat = {f"{section}.{key}" if isinstance(value, dict) else section for section, value in written.items()
            for key in (value if isinstance(value, dict) else [""])}  # fmt: skip
    left_to_rules = {"data.path", "model.rounds", "model.learning_rate", "cohort.minimum"}
    left_to_rules |= {"data.order", "privacy.aggregation", "privacy.noise", "retrain"}
    left_to_rules |= {key for key in known_keys(Scenario) if key.startswith("generated.")}  # no such data is named
    assert flat == set(known_keys(Scenario)) - left_to_rules
