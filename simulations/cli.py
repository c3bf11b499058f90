"""The command line: `backrow`. Heavy libraries are imported by the command that needs them."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from backrow.privacy.errors import BackrowError
from backrow.simulations import (
    cli_budget,
    cli_continual,
    cli_data,
    cli_opting_out,
    cli_recommend,
    cli_retrain,
    cli_study,
    cli_weekly,
    telemetry,
)

TRACEBACK = "BACKROW_TRACEBACK"
"""Set it to see where an unexpected error came from."""

app = typer.Typer(
    name="backrow",
    help="Private, federated recommendations: what a streaming service learns by watching its viewers, learned without "
    "watching them.",
    epilog="Start with: backrow demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(epilog="Example: backrow demo --data ml-100k --out runs/first")
def demo(
    out: Annotated[Path | None, typer.Option(help="Folder to write; must not exist. [default: runs/demo-N]")] = None,
    data: Annotated[str | None, typer.Option(help="ml-1m or ml-100k. [default: ml-1m if it can be had]")] = None,
) -> None:
    """Train on real viewing data and show what privacy costs and gives, in about three minutes.

    A run on Flower and Ray with four nodes that host all devices, then the same devices at epsilon 1, 3, 8 and without
    privacy: one table, one viewer's top ten, one report; then an audit of a run, and thirty ways to tamper with it.
    Last she opts out, on a real device: what has left it, what leaves it now, and what the coordinator can tell.
    """
    from backrow.simulations.demo import run_demo

    run_demo(out or unused_folder("demo"), data)


@app.command(epilog="Example: backrow simulate examples/ml-100k.toml --set privacy.epsilon=1 --no-baselines")
def simulate(
    scenario: Annotated[Path | None, typer.Argument(metavar="RUN.toml")] = None,
    data: Annotated[str | None, typer.Option(metavar="NAME|PATH", help="In place of the scenario's data.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="In place of one value; may be repeated.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="inprocess, or flower (Flower's simulation on Ray).")] = None,
    trainer: Annotated[
        str | None,
        typer.Option(help="auto, sequence, gradient, subspace, sgd, opacus, opacus-event or prior (counts only)."),
    ] = None,
    no_baselines: Annotated[bool, typer.Option("--no-baselines", help="Train and evaluate ours only.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Run folder to write; must not exist. [default: runs/SCENARIO-N]")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Go on with a run that was killed; takes no RUN.toml.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print results.json instead of tables.")] = False,
) -> None:
    """Run one scenario: devices answer, the coordinator learns from noisy sums, the result is measured.

    RUN.toml is a scenario file; examples/ has some. The run folder holds the resolved scenario, results.json,
    metrics.parquet, the ledger, the signed model and report.html. Progress goes to standard error.
    """
    from backrow.simulations import console, runner
    from backrow.simulations.scenario_file import load_scenario

    if (scenario is None) == (resume is None):
        raise typer.BadParameter("give a scenario file, or --resume with the folder of a run that was killed")
    if resume is not None and (out or data or settings or engine or trainer):
        raise typer.BadParameter("a resumed run keeps its own settings: give --resume DIR alone")
    if resume is not None:
        folder, scenario = runner.unfinished_run(resume)
    else:
        assert scenario is not None
        folder = out or unused_folder(scenario.stem)
    run = runner.run if resume is None else runner.resume
    loaded = load_scenario(scenario, settings or (), data=data, engine=engine, trainer=trainer)
    console.say(console.budget_words(loaded.privacy), "dim", console.err)
    with console.progress() as observe:
        results = run(loaded, folder, observe=observe, baselines=not no_baselines)
    console.print_warnings(results.warnings)
    if json:
        sys.stdout.write(results.to_json())
    else:
        console.print_results(results)
    console.say(f"report: {folder / 'report.html'}", to=console.err if json else console.out)


app.command(name="recommend", epilog="Example: backrow recommend --run runs/ml-100k-1 --user 42")(
    cli_recommend.recommend
)
app.command(name="retrain-from", epilog="Example: backrow retrain-from runs/first --terms")(cli_retrain.retrain_from)
app.command(name="weekly", epilog="Example: backrow weekly examples/weekly.toml")(cli_weekly.weekly)
app.command(name="continual", epilog="Example: backrow continual examples/churn.toml")(cli_continual.continual)
app.command(name="opt-out-cost", epilog="Example: backrow opt-out-cost examples/ml-1m.toml --rates 0,.3,.6,.9")(
    cli_opting_out.opt_out_cost
)
app.command(name="sweep", epilog="Example: backrow sweep examples/ml-1m.toml --grid privacy.epsilon=1,2,4,8 --jobs 2")(
    cli_study.sweep
)
app.command(name="plan", epilog="Example: backrow plan examples/ml-100k.toml --epsilon 1,3 --devices 1000,10000")(
    cli_study.plan
)
app.command(name="compare", epilog="Example: backrow compare runs/ml-100k-1 runs/ml-100k-2")(cli_study.compare)
app.add_typer(cli_budget.app, name="budget")
app.add_typer(cli_data.app, name="data")


def mount(words: list[str]) -> None:
    """Add the auditor's commands. Their modules load numpy, so only where one of them is asked for."""
    asked = words[:1]
    if asked == ["audit"]:
        from backrow.privacy.audit.cli import app as audit
        from backrow.simulations.cli_attack import attack

        audit.command(name="attack")(attack)
        app.add_typer(audit, name="audit")
    else:
        app.add_typer(
            typer.Typer(help="Check what a coordinator claims, offline: verify, report, tamper-demo ..."), name="audit"
        )
    if asked == ["witness"]:
        from backrow.privacy.audit.witness import witness

        app.command(name="witness", epilog="Example: backrow witness runs/first --key coordinator.pub")(witness)
    else:
        app.command(name="witness", help="Watch a ledger grow, and cosign its checkpoint.")(_nothing)
    if asked == ["opt-out"]:
        from backrow.server.cli import opt_out

        app.command(name="opt-out", epilog="Example: backrow opt-out runs/first request.bin")(opt_out)
    else:
        app.command(name="opt-out", help="Put an owner's signed opt-out on a coordinator's list.")(_nothing)


def _nothing() -> None:
    """Stands in the list of commands; never runs."""


def unused_folder(name: str) -> Path:
    """runs/NAME-1, or the first such folder that is not there."""
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder


def main() -> None:
    """Console script `backrow`: exit code 0, 1 (a sentence on standard error) or 2 (usage)."""
    telemetry.switch_off()
    mount(sys.argv[1:])
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BackrowError as error:
        _stop(str(error))
    except OSError as error:
        _stop(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        first = str(error).splitlines()[0] if str(error) else "no message"
        _stop(f"{type(error).__name__}: {first} (unexpected; {TRACEBACK}=1 shows where it came from)")


def _stop(message: str) -> None:
    from backrow.simulations.console import print_error

    print_error(message)
    sys.exit(1)
