"""`python -m tools.train RECIPE.toml ...`: train what is not yet trained, one after the other."""

from __future__ import annotations

import argparse
from pathlib import Path

from tools.train.data import read_samples
from tools.train.recipe import read_recipes
from tools.train.trainer import train


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.train", description=__doc__)
    parser.add_argument("recipes", nargs="+", type=Path, metavar="RECIPE.toml")
    parser.add_argument("--surface", help="only this one, of a recipe that has a training for each of its surfaces")
    parser.add_argument("--data", action="append", type=Path, required=True, help="a folder with split.csv; repeatable")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where checkpoints and reports go")
    given = parser.parse_args()
    for recipe in [recipe for path in given.recipes for recipe in read_recipes(path, given.surface)]:
        samples = [s for surface in recipe.surfaces for s in read_samples(given.data, surface)]
        train(recipe, samples, given.runs / recipe.name)


if __name__ == "__main__":
    main()
