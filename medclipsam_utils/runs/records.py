"""Records of what became of each item of a long list: one line per item, appended as it happens.

Each process writes a file of its own and reads those of all, so that several can share a list and each knows what an
earlier run has done.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Records:
    """Records of the items of a list, in a folder of JSON-lines files.

    Args:
        folder: where they are, which has to exist.
        rank: number of this process, from 0.
    """

    def __init__(self, folder: Path, rank: int = 0):
        self.folder, self.path = folder, folder / f"{rank}.jsonl"

    def read(self) -> dict[str, Record]:
        """Return the last record of each item by its ``"file"``; a line that an interruption cut short is left out."""
        records: list[Record] = []
        for path in self.folder.glob("*.jsonl"):
            for line in path.read_text(encoding="utf-8").splitlines():
                with suppress(json.JSONDecodeError):
                    records.append(json.loads(line))
        return {record["file"]: record for record in sorted(records, key=lambda record: record["time"])}

    def append(self, record: Record) -> None:
        """Write one record, which has to have a ``"file"``."""
        with self.path.open("a", encoding="utf-8") as file:  # the first line break ends what was left unfinished
            file.write("\n" + json.dumps({**record, "time": time.time()}) + "\n")
