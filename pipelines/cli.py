"""The command line: ``ms2img COMMAND``; each command is one module of this room.

Command modules import Ray, torch and MLflow inside their functions, so that ``--help`` is instant.
"""

from __future__ import annotations

import sys
import traceback

import click
import typer

import ms2img
from ms2img.errors import Ms2imgError
from pipelines.command import Output, command
from pipelines.convert import ConvertConfig

INTERRUPTED = 130

app = typer.Typer(
    help="Mass-spectrometry runs to images, a CNN on them, and the model back from a registry.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        print(ms2img.__version__)
        raise typer.Exit


@command(app, "convert", ConvertConfig, arguments=("samples", "out"))
def _convert(config: ConvertConfig, output: Output) -> int:
    """Turn the runs of a sample sheet into a Parquet data set of images; only what is new or changed is done."""
    from pipelines.convert import convert

    summary = convert(config, quiet=output.quiet)
    for row in summary.errors[:5]:
        place = f"{row['path']}, {row['position']}" if row["position"] else row["path"]
        print(f"ms2img: {row['sample_id']}: {place}: {row['message']} [{row['code']}]", file=sys.stderr)
    if summary.failed > 5:
        print(f"ms2img: ... and {summary.failed - 5} more in {summary.output}/errors.parquet", file=sys.stderr)
    output.say(
        f"{summary.converted} converted, {summary.unchanged} unchanged, {summary.failed} failed -> {summary.output}"
    )
    output.result(
        {
            "converted": summary.converted,
            "unchanged": summary.unchanged,
            "failed": summary.failed,
            "output": summary.output,
        }
    )
    return 3 if summary.failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit status (0 done, 1 internal, 2 usage, 3 failures, 130 interrupted)."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    try:
        return int(app(given, prog_name="ms2img", standalone_mode=False) or 0)
    except typer.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return 2
    except click.ClickException as error:
        return _refuse(f"{error.format_message().rstrip('.')}", 2, debug)
    except Ms2imgError as error:
        return _refuse(str(error), error.exit_code, debug)
    except (KeyboardInterrupt, click.Abort):
        return _refuse("interrupted; run the same command again to go on", INTERRUPTED, debug)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else "no message"
        return _refuse(f"internal error: {type(error).__name__}: {reason} (--debug shows where)", 1, debug)


def _refuse(message: str, status: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"ms2img: {message}", file=sys.stderr, flush=True)
    return status


def run() -> None:
    """The console script."""
    sys.exit(main())
