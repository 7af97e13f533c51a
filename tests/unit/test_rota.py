"""Which node a lane uses next: of its own share while that answers, and never given up."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from penstock.channels import INSTANCES
from penstock.rota import Rota


def turns(rota: Rota[str], count: int, *, failing: bool) -> list[str]:
    return [rota.next(number if failing else 0) for number in range(count)]


@given(st.integers(2, 6), st.integers(0, 6))
def test_two_lanes_never_meet_while_their_shares_answer(configured: int, learned: int) -> None:
    """Each goes through its own half, never twice in a row to one node; where all refuse, through every node."""
    nodes = [f"c{n}" for n in range(configured)]
    known = [*(f"l{n}" for n in range(learned)), *nodes]
    used = []
    for instance in INSTANCES:
        rota = Rota(nodes, instance)
        first = rota.next(0)
        assert first == nodes[INSTANCES.index(instance)]
        rota.learn(known)
        assert not rota.is_foreign(first)
        share = {node for node in {*nodes, *known} if not rota.is_foreign(node)}
        assert len(share) >= len({*nodes, *known}) // 2
        if len(share) > 1:
            walked = turns(rota, 20, failing=False)
            assert set(walked) == share
            assert all(a != b for a, b in pairwise(walked))
        assert set(turns(rota, 30, failing=True)) == {*nodes, *known}
        used.append(share)
    assert used[0].isdisjoint(used[1])


def test_a_lane_whose_share_is_one_node_goes_to_the_other_at_once_and_comes_back() -> None:
    """Two nodes: a dead one is not asked twice in a row."""
    assert turns(Rota(["a", "b"], "PRIMARY"), 4, failing=True) == ["a", "b", "a", "b"]
    broke = Rota(["a", "b"], "PRIMARY")
    assert [broke.next(0), broke.next(0), broke.next(1), broke.next(2)] == ["a", "b", "a", "b"]
    assert turns(Rota(["a"], "REPLICA"), 3, failing=True) == ["a", "a", "a"]


def test_without_a_choice_a_lane_begins_with_what_the_other_reaches_last() -> None:
    """Three nodes: REPLICA has one of its own. When that dies it joins the one where PRIMARY is not."""
    rota = Rota(["a", "b", "c"], "REPLICA")
    assert [rota.next(0), rota.next(0)] == ["b", "c"]


def test_nodes_the_cluster_gave_up_are_of_a_share_and_tried_last() -> None:
    """Both lanes count the same nodes, whenever they look."""
    rota = Rota(["a"], "PRIMARY")
    assert rota.next(0) == "a"
    rota.learn(["b", "c", "d", "e"], failing={"c"})
    assert [rota.next(0) for _ in range(3)] == ["e", "a", "e"]
    assert not rota.is_foreign("c")
    assert rota.is_foreign("b")


def test_the_lane_that_only_knows_the_others_node_has_to_leave_it() -> None:
    """One configured node is of PRIMARY's share, as soon as others are known."""
    rota = Rota(["a"], "REPLICA")
    assert rota.next(0) == "a"
    assert not rota.is_foreign("a")
    rota.learn(["a", "b", "c"])
    assert rota.is_foreign("a")
    assert rota.next(0) == "b"
