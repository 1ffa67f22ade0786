"""What is fed: files of rows, a program that makes them; and which rows a topic has."""

import csv
import json
from pathlib import Path

from stormline.connectors.feed_program import Program

PURCHASES = Path(__file__).parents[2] / "data" / "cdnow.csv.gz"


def written(path: Path, *rows: list[str]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def small_file(path: Path, rows: int = 2_500) -> Path:
    lines = [[str(number % 40), "2020-01-01", str(number)] for number in range(1, rows + 1)]
    return written(path, ["key", "time", "number"], *lines)


PROGRAM = """
def rows(records, seed):
    for number in range(1, records + 1):
        yield b"%d" % ((number + seed) % 40), b'{"number":%d}' % number, 1_577_836_800_000 + number
"""


def program(path: Path, text: str = PROGRAM, records: int = 2_500, seed: int = 0) -> Program:
    path.write_text(text)
    return Program(path, records, seed)


def numbers_of(records: dict[int, list]) -> dict[int, list[int]]:
    return {partition: [json.loads(record.value)["number"] for record in found] for partition, found in records.items()}
