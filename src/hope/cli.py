"""The command line: a thin entry point. Commands live in ``hope.commands`` and are loaded when they are used."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import click

from hope import __version__
from hope.commands.inputs import HELP
from hope.commands.status import INPUT_WRONG, OUR_FAULT
from hope.domain.errors import BundleError, HopeError, InputError, OutputError
from hope.domain.extras import extra_of, missing_extras, missing_packages

COMMANDS = {
    "segment": "Scans in; labels, volumes, picture and report out.",
    "preprocess": "Scans in; aligned images in atlas space out.",
    "harmonize": "Bring a case's intensities to one style.",
    "postprocess": "Apply adaptive post-processing rules to a mask.",
    "evaluate": "Compare masks with the truth: Dice, HD95, lesion-wise.",
    "dicom": "Studies from an archive, and results back to it.",
    "export": "Write a result's mask for 3D Slicer or ITK-SNAP.",
    "bids": "Results as BIDS derivatives.",
    "deidentify-report": "What of a result is free of identity, and why.",
    "cohort": "Many results as one table.",
    "measure": "Measure the lesions of a mask: diameters, volumes, sums.",
    "compare": "What changed between dates of one patient.",
    "federate": "Jobs of several hospitals on NVIDIA FLARE: cases stay.",
    "survival": "Fit a survival model on a cohort table; apply a published one.",
    "synth": "Make labelled synthetic cases: no patient's data.",
    "train": "Train a model bundle from synthesis and your own labelled cases.",
    "models": "List, show, add, remove, push and pull model bundles.",
    "doctor": "Check the installation and print the settings.",
    "infer": "MLCube form: a directory of cases in, one mask per case out.",
    "up": "The whole platform on this machine: web page, REST, pipeline.",
    "gateway": "Web page and REST only; `hope worker` does the work.",
    "worker": "Do stages for gateways elsewhere.",
    "endpoint": "Answer SageMaker's /ping and /invocations: cases from a bucket, results to it.",
    "audit": "Read the audit log and check its hash chain.",
    "token": "Make an API token for a program that uses the gateway.",
    "aws": "The AWS route on this machine: S3 and an endpoint, served locally.",
}
"""Command -> what ``hope --help`` says of it, so that no command is imported to be listed; a test compares."""


class LazyGroup(click.Group):
    """A group whose commands are imported by name, and whose errors become one sentence and an exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import ``hope.commands.NAME`` and take the command of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"hope.commands.{module}"), module)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what the user can mend leaves with 2, what failed on our side with 1."""
        _leave_tidily_when_terminated()
        # Read by torch at its first large tensor: a quarter of the page faults, a tenth less processor time.
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        try:
            return super().invoke(ctx)
        except (InputError, OutputError, BundleError) as error:
            click.echo(f"hope: {error}", err=True)
            ctx.exit(INPUT_WRONG)
        except HopeError as error:
            click.echo(f"hope: {error}", err=True)
            ctx.exit(OUR_FAULT)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            extra = extra_of(package)
            if extra is None or package not in missing_packages(extra):
                raise
            click.echo(f"hope: {missing_extras(f'this use of {package}', [extra])}", err=True)
            ctx.exit(INPUT_WRONG)
        except MemoryError:
            click.echo("hope: not enough memory for this case; close other programs, or use a larger machine", err=True)
            ctx.exit(OUR_FAULT)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            # The path is not shown: file names may hold a patient's name.
            reason = error.strerror or "input/output error"
            click.echo(f"hope: a file or directory cannot be used: {reason}; check the paths given", err=True)
            ctx.exit(INPUT_WRONG)


def _leave_tidily_when_terminated() -> None:
    """Turn SIGTERM and SIGHUP into an exit that runs every clean-up: private folders go, worker processes end."""
    # A closed terminal or connection sends SIGHUP, often twice; nohup makes a command ignore it, which stays so.
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for name in names if signal.getsignal(number := getattr(signal, name)) != signal.SIG_IGN]

    def leave(number: int, frame: FrameType | None) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)  # a second one would end the clean-up
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            signal.signal(number, leave)


@click.group(
    cls=LazyGroup,
    context_settings={**HELP, "max_content_width": 100},
    epilog="Exit status: 0 all good; 2 input or call wrong; 3 some cases of a batch failed; 1 our own fault.",
)
@click.version_option(__version__, prog_name="hope")
def main() -> None:
    """Find and measure the parts of a child's brain tumour in four MRI sequences.

    \b
    Raw scans from the scanner (NIfTI or DICOM) go in; labels on the scan's own grid,
    volumes in ml, a picture and a report come out. No network, no GPU, no server needed.

    \b
    Try it:    hope synth 1 -o cases && hope segment cases -o results
    Your own:  hope segment --t1n F --t1c F --t2w F --t2f F -o results

    Research use only. Not a medical device; not for diagnosis or treatment decisions.
    """  # noqa: D301 - click reads the backspace


def serve() -> None:
    """What SageMaker starts: `hope endpoint` for whoever reaches the container, however often it says ``serve``."""
    given = [argument for argument in sys.argv[1:] if argument != "serve"]
    main(["endpoint", "--host", "0.0.0.0", *given], prog_name="hope")  # noqa: S104 - the container's own network


if __name__ == "__main__":
    sys.exit(main())
