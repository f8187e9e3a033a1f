"""The command line. Parsing imports neither jax nor numpy; each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys
import textwrap
from collections.abc import Sequence
from typing import NoReturn

from checkerjax import __version__
from checkerjax.cli._audit_options import add_audit


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0, or 2 with one line on standard error for bad input."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        try:
            options = _parser().parse_args(arguments)
            options.command_line = shlex.join(["checkerjax", *arguments])
            if options.command == "measure":
                _one_thread_per_product()
            return importlib.import_module(f"checkerjax.cli._{options.command}").run(options)
        finally:
            sys.stdout.flush()  # a reader that has gone is noticed here, not while the interpreter shuts down
    except KeyboardInterrupt:
        print("checkerjax: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, `| head` say; what is left in the buffer has to go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        print(f"checkerjax: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _one_thread_per_product() -> None:
    """Matrix products on one thread each, unless told otherwise; read by libraries as they are imported.

    Pictures are measured on threads of our own, with many small products: shared between threads they took three times
    the processor time.
    """
    if "numpy" not in sys.modules:
        for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(name, "1")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="checkerjax", description="Checkerboard artifacts: measure them before any training.")
    parser.add_argument("--version", action="version", version=f"checkerjax {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_sweep(commands)
    _add_report(commands)
    _add_overlap(commands)
    _add_expect(commands)
    _add_measure(commands)
    add_audit(commands)
    return parser


def _add_sweep(commands) -> None:
    text = (
        "Random generators (the article's figure 9) and the input gradients of well-known first layers, over many "
        "random initialisations: lines and phase powers with intervals, a figure, a table, a dataset."
    )
    parser = commands.add_parser("sweep", help="artifacts at random initialisation, over seeds", description=text)
    parser.add_argument("--seeds", type=int, metavar="N", help="random initialisations (200)")
    parser.add_argument("--base-seed", type=int, metavar="N", help="another set of random numbers (0)")
    parser.add_argument("--only", choices=("forward", "gradient"), help="one half of the job")
    parser.add_argument(
        "--images", metavar="FOLDER", help="photographs for the gradients (default: those that scikit-image installs)"
    )
    parser.add_argument("--out", default="out/sweep", metavar="FOLDER", help="where results go (out/sweep)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    grid = parser.add_argument_group("a grid of your own instead", "values separated by commas, and ranges such as 2:8")
    for name, text in _AXES.items():
        grid.add_argument(f"--{name}", metavar="LIST", help=text)
    grid.add_argument("--stack", action="append", metavar="TEXT", help="a stack, besides families; may be repeated")
    grid.add_argument("--size", metavar="N", help="input size of these stacks (16)")
    grid.add_argument("--periods", metavar="LIST", help="periods of their lines, each dividing the last (2)")
    grid.add_argument("--channels", metavar="N", help="coming in and, of families, going out (3)")
    grid.add_argument("--batch", metavar="N", help="fields of one seed (1)")
    grid.add_argument("--invalid", choices=("refuse", "skip"), help="combinations that cannot be (refuse)")
    grid.add_argument("--grid", metavar="FILE", help="all of these from a TOML file; flags win")
    grid.add_argument("--dry-run", action="store_true", help="only say what would run, and about how long")
    grid.add_argument(
        "--store", metavar="PLACE", help="folder, gs:// or s3:// (OUT/sweep.zarr); continued if it exists"
    )
    grid.add_argument("--shard", metavar="I/N", help="only this part of the work, for independent workers on one store")
    grid.add_argument("--distributed", action="store_true", help="part by process of a cluster, as JAX finds it")
    grid.add_argument("--chunk", type=int, metavar="N", help="seeds in a chunk; results depend on it by rounding only")
    grid.add_argument("--draws", default="auto", choices=("auto", "inside", "pool"), help="where normals are drawn")


_AXES = {
    "family": "deconv, resize, resize_linear, subpixel, conv, maxpool, avgpool",
    "kernel": "taps along each axis",
    "stride": "of each layer",
    "depth": "layers",
    "width": "channels between layers",
    "activation": "relu, leaky_relu, tanh, linear",
    "initialiser": "lecun, he, icnr, normal(std)",
    "padding": "same, valid, edge, reflect, ...",
    "direction": "forward, gradient, weights",
    "input": "probe, constant, white, pink, photo",
    "cotangent": "of gradients: probe, constant, white, mse, logistic",
}


def _add_report(commands) -> None:
    text = "Tables (text, Markdown, LaTeX, CSV) and figures of a stored sweep; also of one that is still written."
    parser = commands.add_parser("report", help="tables and figures of a stored sweep", description=text)
    parser.add_argument("store", metavar="STORE", help="folder, gs:// or s3://, that `checkerjax sweep` wrote")
    parser.add_argument("--out", metavar="FOLDER", help="where results go (beside the store: NAME-report)")
    parser.add_argument("--format", choices=("png", "svg", "pdf"), default="png", help="of the figures (png)")


def _add_overlap(commands) -> None:
    text = "Counts the paths to each output of a stack: overlap, unevenness, and the conditions against checkerboards."
    parser = commands.add_parser("overlap", help="overlap counts of a stack", description=text)
    parser.add_argument("stack", help='layers, for example "deconv k3 s2, deconv k3 s2"')
    parser.add_argument("--size", metavar="N[xN[xN]]", help="input size (default: large enough for two periods)")
    parser.add_argument(
        "--ndim", type=int, choices=(1, 2, 3), default=2, help="spatial axes, where --size is not given"
    )
    parser.add_argument("--backward", action="store_true", help="paths from the outputs to each input: its gradient")
    parser.add_argument("--out", metavar="FILE", help="also draw the map to a .png, .svg or .pdf file")


def _add_expect(commands) -> None:
    text = (
        "What a stack makes at random initialisation, in closed form: lines, phase powers, spectra, and which of the "
        "conditions against checkerboards it meets."
    )
    parser = commands.add_parser("expect", help="closed forms of a stack at random initialisation", description=text)
    parser.add_argument("stack", help='layers, for example "deconv k4 s2, relu, deconv k5 s2"')
    parser.add_argument("--size", metavar="N[xN[xN]]", help="input size (default: large enough for a spectrum)")
    parser.add_argument("--ndim", type=int, choices=(1, 2, 3), help="spatial axes (2, or those of --size)")
    parser.add_argument("--channels", type=int, default=3, metavar="N", help="that come in (3)")
    parser.add_argument("--width", type=int, default=16, metavar="N", help="of layers that name no features (16)")
    parser.add_argument("--initialiser", default="lecun", metavar="NAME", help="lecun, he, icnr or normal(std) (lecun)")
    parser.add_argument("--json", metavar="FILE", help='all numbers as JSON; "-" prints it instead of the table')
    parser.add_argument("--out", metavar="FILE", help="also draw the spectra to a .png, .svg or .pdf file")


def _add_measure(commands) -> None:
    text = (
        "Is there a grid in these pictures, how strong, at which period? Pictures, arrays (.npy, .npz) and sounds "
        "(.wav), one by one and all together; where the evidence says so, with the origin of the grid. A file that "
        "cannot be read is named, and the others are measured."
    )
    parser = commands.add_parser(
        "measure",
        help="grids in pictures, arrays and sounds",
        description=text,
        epilog=_MEASURE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.description = textwrap.fill(text, 100)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="files, folders (at any depth), patterns")
    parser.add_argument("--periods", default="2:16", metavar="LIST", help="in samples: 2,4,8 or 2:16 (the default)")
    parser.add_argument(
        "--alpha", type=float, default=0.01, metavar="P", help="level, for all periods of a picture (0.01)"
    )
    parser.add_argument("--fractional", action="store_true", help="also periods that are no whole number")
    parser.add_argument("--axes", metavar="LETTERS", help="of arrays: n batch, t time, z y x, c channels; such as nyxc")
    parser.add_argument("--full-scale", type=float, metavar="V", help="the sample value that is white, of arrays")
    parser.add_argument(
        "--reference",
        action="append",
        metavar="PATH",
        help="real pictures: is there more than in these? may be repeated",
    )
    parser.add_argument(
        "--forensics",
        action="store_true",
        help="which upsampler may have made them: all pictures as images of one untrained generator",
    )
    parser.add_argument("--fail-above", type=float, metavar="DB", help="exit code 1 if a grid found is stronger")
    parser.add_argument(
        "--most", type=int, default=20, metavar="N", help="rows of the table, and figures of pictures (20)"
    )
    parser.add_argument("--json", metavar="FILE", help="everything, as one document; - for standard output")
    parser.add_argument("--csv", metavar="FILE", help="a row for each picture and period; - for standard output")
    parser.add_argument("--figures", metavar="FOLDER", help="draw the worst pictures, and all together")
    parser.add_argument("--format", choices=("png", "svg", "pdf"), default="png", help="of the figures (png)")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="threads, or processes from 128 files on (one per processor)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")


_MEASURE_EXAMPLES = """\
columns, of the strongest of the periods found: power over the frequencies beside it, of the pattern (dB) and of the
contrast (phase dB); p, corrected for the periods tried; amplitude (RMS), in the file's own sample values; ratio, the
largest over the smallest power of the phases; origin, where the evidence says so. Strength, and what --fail-above
compares, is the larger of the two dB, if both are significant at --alpha.

exit codes: 0 measured, 1 a grid above --fail-above, 2 nothing could be measured, 130 interrupted

examples:
  checkerjax measure picture.png
  checkerjax measure generated/ --reference real/ --figures out/
  checkerjax measure "samples/**/*.png" --json grids.json --fail-above 6
  checkerjax measure batch.npy --axes nyxc --full-scale 255 --periods 2,4,8
  checkerjax measure voice.wav --periods 2:256
  checkerjax measure untrained/ --forensics
"""
