"""The stateless step of a history: 0 to 3 outputs of each record, in tuples that are cut where it likes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.outputs import Output

from stormline.core.batch import Batch, Rows
from stormline.core.slot import key_column, key_text, owner_index
from stormline.core.split import Split

if TYPE_CHECKING:
    from simulation.world import World


class Stateless:
    """For so many tasks of the keyed bolt behind it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.split = Split("by_K", key_column(lambda value: value), world.tasks)

    def take(self, batch: Batch, roots: set[int], tup: int) -> None:
        """Outputs of one origin for one slot stay together; everything else may be cut anywhere (B1)."""
        world = self.world
        dies = not world.draining and world.random.random() < 0.04
        for lane in world.outputs.lanes:
            rows = batch.records
            pieces = [(0, len(rows.offsets))]
            if world.random.random() < 0.5:
                pieces = [(i, i + 1) for i in range(len(rows.offsets))]
            for first, last in pieces:
                out, keys = Rows([], [], []), []
                for offset, time_ms, record in zip(*(c[first:last] for c in rows[:3]), strict=True):
                    for n, key in enumerate(world.outputs.keys[record]):
                        out.offsets.append(offset)
                        out.times_ms.append(time_ms)
                        out.values.append(Output(f"{record}:{n}:{lane}"))
                        keys.append(key_text(key))
                for values in self.split.batches(f"{batch.lane}/{lane}", batch.partition, out, keys):
                    if dies and world.random.random() < 0.5:
                        continue
                    world.send("K", owner_index(values.slot, world.tasks), values, roots, world.run)
        if not dies:
            world.storm.ack(roots, tup)
