"""Acking patterns, drawn by Hypothesis with a fixed seed: what the bolts do with the tuples of one or two spout tuples.

A pattern is a list of one or two scripts, one a spout tuple; both tuples reach the same task of `first`, in order.
A script is a list of actions, done in order by the bolt that gets the tuple:

    ["hold"]                            keep this tuple; the second tuple of the pattern knows it as "held"
    ["ack", WHO]  ["fail", WHO]         WHO: "self" or "held"
    ["emit", STREAM, [WHO...], SCRIPT]  emit a tuple anchored to these (none: unanchored; a WHO may stand twice); each
                                        task that gets it does SCRIPT

A tuple that is neither acked nor failed is dropped: it times out. The graph (`topologies.Acking`):

    words -fields(pattern)-> first(2) -default: fields(pattern)-> second(3)
                                      -wide: all-> second(3), shuffle-> third(2)
                                      -one: global-> third(2)
    second -default: fields(path)-> third(2)    -one: global-> third(2)    first, second -nobody-> nobody
"""

import json

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

SEED = 20261124
COUNT = 400

ENDS = {"ack": [["ack", "self"]], "fail": [["fail", "self"]], "drop": []}
# Most end well, or whole trees would hardly ever be acked.
end = st.sampled_from(["ack"] * 12 + ["fail", "drop"]).map(lambda name: ENDS[name])
anchors = st.sampled_from([["self"]] * 5 + [[], ["self", "self"]])


def emits(streams, child, who=anchors, most=3):
    """A list of emit actions."""
    one = st.tuples(st.just("emit"), st.sampled_from(streams), who, child).map(list)
    return st.lists(one, max_size=most)


@st.composite
def node(draw, streams, child):
    """Emits, then the end; or the end first, and then only unanchored emits (others would end the worker)."""
    if draw(st.integers(0, 5)) == 0:
        return draw(end) + draw(emits(streams, child, st.just([]), most=1))
    return draw(emits(streams, child)) + draw(end)


third = end
second = node(["default", "default", "one", "nobody"], third)
FIRST = ["default", "default", "one", "wide", "nobody"]


def below(stream):
    """What may be told to the subscribers of a stream: `third` has no use for children."""
    return second if stream == "default" else third


@st.composite
def first(draw, who=anchors):
    actions = []
    for _ in range(draw(st.integers(0, 3))):
        stream = draw(st.sampled_from(FIRST))
        actions.append(["emit", stream, draw(who), draw(below(stream))])
    return actions


@st.composite
def single(draw):
    if draw(st.integers(0, 5)) == 0:
        return [draw(end) + draw(first(st.just([])))]
    return [draw(first()) + draw(end)]


@st.composite
def pair(draw):
    """The first tuple is held; the second is emitted on with anchors to either or both, then both end in any order."""
    both = st.sampled_from([["self", "held"]] * 4 + [["held", "self"], ["held"], ["self"], []])
    held_end = [[verb, "held"] for verb, _ in draw(end)]
    ends = draw(st.permutations([held_end, draw(end)]))
    return [[*draw(first()), ["hold"]], [*draw(first(both)), *ends[0], *ends[1]]]


def patterns(count=COUNT):
    """`count` different patterns, the same at each call (with the same Hypothesis; the fixture keeps those it used)."""
    found = {}

    @seed(SEED)
    @settings(
        max_examples=count * 4,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(single() | pair())
    def draw(pattern):
        found.setdefault(json.dumps(pattern), pattern)

    draw()
    return list(found.values())[:count]


FATAL = {
    "ack twice": [["ack", "self"], ["ack", "self"]],
    "fail after ack": [["ack", "self"], ["fail", "self"]],
    "ack after fail": [["fail", "self"], ["ack", "self"]],
    "emit after ack": [["ack", "self"], ["emit", "default", ["self"], [["ack", "self"]]]],
    "ack of an unknown id": [["ack", "unknown"]],
    "emit anchored to an unknown id": [["emit", "default", ["unknown"], [["ack", "self"]]], ["ack", "self"]],
    "emit to an unknown stream": [["emit", "no-such-stream", ["self"], [["ack", "self"]]], ["ack", "self"]],
}
"""Scripts that end a worker on Storm; recorded one by one."""
