"""Write watch: whether writes under way may change a region of memory."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.pipeline import flow, registered
from spec.tensor_units import CastWindowParams

__all__ = ["WriteWatch"]


class WriteWatch(wiring.Component):
    """Watches the writes of one requester, which are written in the order in which they came.

    :Timing: ``changing`` rises three cycles after a write to the region has been accepted and
        falls three cycles after it, and all before it, are written; it is high for at least one
        cycle. With ``all_writes`` every write under way counts as one to the region.
    :Errors: more than ``2 * writes`` writes under way are not counted right; this is not detected.

    Members
    -------
    write : flow of the atoms to which writes have been accepted
    written : flow; one when the oldest write under way is written
    source, atoms : the region
    all_writes : take every write for one to the region, those under way too
    changing : a write to the region is under way
    """

    def __init__(self, params: CastWindowParams):
        if not isinstance(params, CastWindowParams):
            raise TypeError(f"WriteWatch needs CastWindowParams, not {params!r}")
        self.params = params
        super().__init__({
            "write": In(flow(params.index_bits)), "written": In(flow(1)),
            "source": In(params.index_bits), "atoms": In(params.index_bits + 1),
            "all_writes": In(1), "changing": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # Stage 1: the atom within the region; below it, a large number.
        bits = self.params.index_bits + 1
        place = registered(m, (self.write.payload - self.source)[:bits], "place")
        came = registered(m, self.write.valid, "came")
        done = registered(m, self.written.valid, "done")

        # Stage 2: whether it is there.
        inside = registered(m, ~place[-1] & (place < self.atoms), "inside")
        came = registered(m, came, "came_2")
        done = registered(m, done, "done_2")

        # Stage 3: count the writes under way, and those up to the last one to the region.
        number = range(2 * self.params.writes + 1)
        under_way, left = Signal(number), Signal(number)
        following = Signal(number)
        m.d.comb += [
            following.eq(under_way + came - done),
            self.changing.eq(left != 0),
        ]
        m.d.sync += under_way.eq(following)
        with m.If(came & inside | self.all_writes):
            m.d.sync += left.eq(following)
        with m.Elif(done & (left != 0)):
            m.d.sync += left.eq(left - 1)
        return m
