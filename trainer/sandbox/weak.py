"""No sandbox: a process group, an environment and limits. What a patch does, it does with the user's rights."""

from __future__ import annotations

from .ports import Cell, Confinement


class Weak:
    """Implements Sandbox, by name only: scores measured so can be faked, and screens say so."""

    level = "weak"

    def missing(self) -> str | None:
        """Nothing is needed."""
        return None

    def confine(self, cell: Cell) -> Confinement:
        """The run sees everything where it lies."""
        return Confinement(
            level=self.level,
            limits={"core": 0, "file": cell.file_mb << 20},
            tree=cell.tree,
            out=cell.out,
            scratch=cell.scratch,
        )
