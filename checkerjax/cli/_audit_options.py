"""The options of `checkerjax audit`; imports nothing heavy, for `--help` is to be quick."""

from __future__ import annotations

import argparse
import textwrap

GRADES = ("holes", "uneven", "untied")  # from worst to best, of those that one can fail on
FAIL_ON = (*GRADES, "lines", "power")


def add_audit(commands) -> None:
    """Adds the command to the parser of the command line."""
    text = (
        "Which layer makes the grid, and what to change? Reads the program of a JAX function or a Flax module, finds "
        "each operation that changes the resolution with its line in the source, and measures the lines and phase "
        "powers after each and in the output, forward and in the input gradient."
    )
    parser = commands.add_parser(
        "audit",
        help="which layer of a JAX model makes a grid",
        description=textwrap.fill(text, 100),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("object", metavar="MODULE:OBJECT", help="package.module:name or path/to/file.py:name")
    parser.add_argument(
        "--input",
        action="append",
        required=True,
        metavar="SHAPE",
        help="of each argument, in order: 1,64 or 1,8,8,3; or 4:int32 for zeros of that type",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="argument of a class or a function"
    )
    parser.add_argument(
        "--inputs", metavar="N[,N]", help="which of the inputs are data, from 0 on: 0 or 0,2 (the last floating one)"
    )
    parser.add_argument(
        "--loss",
        metavar="MODULE:OBJECT",
        help="a function of the output that gives a number: audits its gradient too",
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="of the inputs")
    parser.add_argument("--layout", choices=("channel_last", "channel_first"), default="channel_last")
    parser.add_argument("--static", action="store_true", help="read the program, run nothing")
    parser.add_argument("--redraw", type=int, default=32, metavar="N", help="initialisations; 0: the one there is (32)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, inputs and probes (0)")
    parser.add_argument("--max-lattice-ratio", type=float, metavar="R", help="line over DC energy that is no grid yet")
    parser.add_argument("--max-power-ratio", type=float, metavar="R", help="ratio of phase powers that is no grid yet")
    parser.add_argument("--fail-on", choices=FAIL_ON, help="exit code 1 if the output has this, or a worse grade")
    parser.add_argument("--json", metavar="FILE", help="everything, as one document; - for standard output")
    parser.add_argument("--markdown", metavar="FILE", help="the report; - for standard output")
    parser.add_argument("--figure", metavar="FILE", help="spectrum and trace, as .png, .svg or .pdf")


_EXAMPLES = """\
the object: a linen or nnx class (constructed from --set, and from the seed), an instance, a callable pytree, or a
function, which is called with arrays drawn from N(0, 1). A name that ends in () is called with --set first, and what
it returns is audited. The last floating input is the data, unless --inputs names others; what is no data is taken as
parameters. Values of --set are Python literals, or else strings.

--fail-on holes, uneven, untied: an operation of this grade or a worse one, and an output that is not measured as clean
(with --static: any such operation). lines, power: the output has them.

exit codes: 0 audited, 1 what --fail-on names, 2 bad input, 130 interrupted

examples:
  checkerjax audit my_models.decoder:Decoder --input 1,64 --set width=32
  checkerjax audit train.py:Generator --input 1,4,4,128 --fail-on uneven --markdown audit.md
  checkerjax audit package.nets:UNet --input 1,32,32,4 --input 1,16 --inputs 0
  checkerjax audit package.nets:Encoder --input 1,64,64,3 --loss package.losses:mse --static
"""
