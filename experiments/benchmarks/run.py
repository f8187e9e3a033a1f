"""How long do checkerjax's operators take, next to the same operators as one writes them without it?

Run:     uv run python -m experiments.benchmarks.run   (--smoke: seconds; --tables: prints what is stored)
Expect:  minutes on two quiet cores; no other work beside it. With PyTorch installed it is measured too
Writes:  results.json and ratios.png beside this file, or into --out
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

from checkerjax import plots
from experiments.benchmarks import figure, measure, peers_torch, store, tables, timing
from experiments.benchmarks.config import SMOKE, Config

HERE = pathlib.Path(__file__).parent


def main(
    config: Config, folder: pathlib.Path, *, names: Sequence[str] | None = None, resume: bool = False
) -> dict[str, Any]:
    """Measures rows and programs, and writes each into the folder as it is done.

    Args:
      config: what to measure.
      folder: of the results.
      names: of rows and programs, None for all. Others that are stored are kept.
      resume: whether to skip what is stored.

    Returns:
      The results, as stored.

    Raises:
      ValueError: for unknown names, or stored rows to keep that were measured with other things.
    """
    rows = {row.name: row for row in config.rows}
    known = [*rows, *measure.PROGRAMS]
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise ValueError(f"benchmarks: there is no row named {', '.join(unknown)}; there are {', '.join(known)}.")
    torch = peers_torch.load()
    results = store.new_results(config, torch)
    if resume or names:
        results = store.take_up(results, folder)
    matmul = timing.matmul_call(config.matmul)
    for name in names or known:
        if resume and name in results["rows"]:
            continue
        print(f"{name} ...", flush=True)
        row = rows.get(name)
        found = (
            measure.measure_row(row, config, torch, matmul) if row else measure.measure_program(name, config, matmul)
        )
        results["rows"][name] = found
        results["rows"] = {
            known_name: results["rows"][known_name] for known_name in known if known_name in results["rows"]
        }
        store.write(results, folder)
    plots.save(figure.ratios_figure(results), folder / store.FIGURE)
    return results


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="tiny shapes; nothing is kept unless --out says where")
    parser.add_argument("--out", type=pathlib.Path, help="folder of the results; else the experiment's own")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these rows or programs; stored others are kept")
    parser.add_argument("--resume", action="store_true", help="skip what is stored, measured with the same things")
    parser.add_argument("--repeats", type=int, help="rounds through all contenders")
    parser.add_argument("--tables", action="store_true", help="print the tables of what is stored; measure nothing")
    arguments = parser.parse_args()
    if arguments.repeats is not None and arguments.repeats < 1:
        parser.error(f"--repeats must be at least 1; got {arguments.repeats}.")
    if arguments.smoke and arguments.out and arguments.out.resolve() == HERE.resolve():
        parser.error("--smoke must not overwrite the stored results; name another folder with --out.")
    return arguments


def _run(arguments: argparse.Namespace) -> None:
    if arguments.tables:
        print(tables.tables(store.read(arguments.out or HERE)))
        return
    config = SMOKE if arguments.smoke else Config()
    if arguments.repeats:
        config = dataclasses.replace(config, repeats=arguments.repeats)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.out or (pathlib.Path(scratch) if arguments.smoke else HERE)
        print(tables.tables(main(config, folder, names=arguments.rows, resume=arguments.resume)))


if __name__ == "__main__":
    _run(_arguments())
