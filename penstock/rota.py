"""Which Redis node a lane uses next, so that one node's death is the death of one lane at most.

In a cluster any node serves any Pub/Sub connection. Every other node is of PRIMARY's share, the rest of REPLICA's, and
publishers and subscribers of a lane keep to its share while any of that answers. Where a lane has no other choice it
goes to the other's nodes, beginning at the end, which the other lane reaches last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from penstock.channels import INSTANCES


class Rota[Node]:
    """The turns of one lane: `nodes` as configured, in the same order for both lanes."""

    def __init__(self, nodes: Sequence[Node], instance: str) -> None:
        self._lane = INSTANCES.index(instance)
        self._configured = tuple(dict.fromkeys(nodes))
        self._last: Node | None = None
        self._share: tuple[Node, ...] = ()
        self._all: tuple[Node, ...] = ()
        self._failing: Collection[Node] = ()
        self.learn(())

    def __len__(self) -> int:
        return len(self._all)

    def learn(self, known: Iterable[Node], failing: Collection[Node] = ()) -> None:
        """What a cluster says its nodes are, in an order that is the same for everybody, beside the configured ones.

        Those that fail are among them, or the shares would be others by the hour one looks; they are tried last.
        """
        every = tuple(dict.fromkeys((*self._configured, *known)))
        mine, others = (every[lane :: len(INSTANCES)] for lane in (self._lane, 1 - self._lane))
        self._share, self._all, self._failing = mine, (*mine, *reversed(others)), failing

    def next(self, failures: int) -> Node:
        """The node to try now, another one than the last where there is one; `failures` in a row came before."""
        own = self._share if failures < len(self._share) else self._all
        pools: tuple[Sequence[Node], ...] = ([node for node in own if node not in self._failing], own, self._all)
        for pool in pools:
            at = next((i for i, node in enumerate(pool, 1) if node == self._last), 0)
            for node in (*pool[at:], *pool[:at]):
                if node != self._last:
                    self._last = node
                    return node
        return self._all[0]

    def is_foreign(self, node: Node) -> bool:
        """Whether a node is of the other lane's share while this lane has one of its own."""
        return bool(self._share) and node not in self._share
