"""Cast window: BF16 in memory, read by the host as FP8 codes and scales made on the way."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hdl.atom_streams import answer_layout, atom_layout, request_layout
from hdl.pipeline import flow
from hdl.skid_buffer import SkidBuffer
from hdl.window_config import WindowConfig, window_layout
from hdl.window_filler import WindowFiller, unit_layout
from hdl.window_planner import WindowPlanner, fetch_layout, order_layout
from hdl.window_store import WindowStore
from hdl.write_watch import WriteWatch
from spec.tensor_units import CastWindowParams
from spec.units import SkidBufferParams

__all__ = ["CastWindow"]


class CastWindow(wiring.Component):
    """Stands between the host port's reads and the memory, and answers those of two apertures.

    The golden model of what it makes is :func:`golden.quantizer.quantize`, of the whole window as
    one row.

    :Shapes: an atom of codes holds one code per byte, the lowest element first; of scales, E8M0
        one per byte or FP32 four bytes each. Elements and groups past the end read as zero.
    :Formats: the window is BF16; ``target``, ``rule`` and ``group`` as in
        :class:`hdl.quantizer.Quantizer`.
    :Order: answers come in the order of the reads. A read of codes or scales sees every write that
        was written before the read came, whoever wrote, and those under way or not.
    :Timing: one plain read per cycle. Codes read in ascending order take one atom of BF16 from
        memory per cycle: one atom of codes in two. A read of codes outside the group of the one
        before it reads its whole group from memory, or both groups where an atom of codes has two.
        Scales of groups whose codes were read one behind the other cost nothing: the last
        ``store_atoms`` of them are kept. An atom with others reads all of its groups. No output
        follows an input combinationally.
    :Errors: an atom behind the last one, and every one of a window that is closed, is ``outside``.
        A fault of an atom of a group gives ``ReadFault.RESPONSE`` with all that is made from it;
        the next read tries again. A window that leaves the memory, or a configuration that was not
        built, is not detected.

    Members
    -------
    read, data : the host port's streams of reads and answers
    memory_read, memory_data : the memory's
    window : the window, from ``mapped`` on
    mapped : another window is open: reads that come later see that one
    host_write, tile_write : flows of the atoms to which the memory has accepted a write
    host_written, tile_written : flows; one per write, in order, when every later read sees it
    """

    def __init__(self, params: CastWindowParams):
        if not isinstance(params, CastWindowParams):
            raise TypeError(f"CastWindow needs CastWindowParams, not {params!r}")
        self.params = params
        super().__init__({
            "read": In(stream.Signature(request_layout(params))),
            "data": Out(stream.Signature(answer_layout(params))),
            "memory_read": Out(stream.Signature(params.index_bits)),
            "memory_data": In(stream.Signature(atom_layout(params))),
            "window": In(window_layout(params)),
            "mapped": In(1),
            **{f"{who}_{name}": In(flow(shape)) for who in ("host", "tile")
               for name, shape in (("write", params.index_bits), ("written", 1))},
        })

    def elaborate(self, platform):
        m = Module()
        params = self.params
        m.submodules.window_config = config = WindowConfig(params)
        m.submodules.planner = planner = WindowPlanner(params)
        m.submodules.filler = filler = WindowFiller(params)
        m.submodules.store = store = WindowStore(params)
        m.d.comb += [config.window.eq(self.window), config.load.eq(planner.load)]
        for unit in (planner, filler, store):
            m.d.comb += unit.config.eq(config.o)

        def skid(name, i, o):
            bits = SkidBufferParams(bits=len(i.payload.as_value() if hasattr(
                i.payload, "as_value") else i.payload))
            m.submodules[name] = buffer = SkidBuffer(bits)
            m.d.comb += [
                buffer.i.payload.eq(i.payload), buffer.i.valid.eq(i.valid),
                i.ready.eq(buffer.i.ready), o.payload.eq(buffer.o.payload),
                o.valid.eq(buffer.o.valid), buffer.o.ready.eq(o.ready),
            ]

        skid("read", self.read, planner.i)
        skid("memory_data", self.memory_data, filler.data)
        skid("data", store.o, self.data)
        self._fetch(m, planner, filler, config.o)
        m.submodules.orders = orders = SyncFIFOBuffered(
            width=order_layout(params).size, depth=params.requests)
        m.d.comb += [
            orders.w_data.eq(planner.order.payload), orders.w_en.eq(planner.order.valid),
            planner.order.ready.eq(orders.w_rdy), store.order.payload.eq(orders.r_data),
            store.order.valid.eq(orders.r_rdy), orders.r_en.eq(store.order.ready),
            planner.idle.eq(orders.level == 0),
            planner.mapped.eq(self.mapped),
        ]
        wiring.connect(m, filler.plain, store.plain)
        wiring.connect(m, filler.codes, store.codes)

        changing = []
        for who in ("host", "tile"):
            m.submodules[f"{who}_watch"] = watch = WriteWatch(params)
            write, written = getattr(self, f"{who}_write"), getattr(self, f"{who}_written")
            m.d.comb += [
                watch.write.payload.eq(write.payload), watch.write.valid.eq(write.valid),
                watch.written.valid.eq(written.valid),
                watch.source.eq(config.o.source), watch.atoms.eq(config.o.atoms),
                # Of writes that came before the window, nobody knows whether they meet it.
                watch.all_writes.eq(planner.loading),
            ]
            changing.append(watch.changing)
        m.d.comb += planner.changed.eq(Cat(changing).any() | filler.fault)
        return m

    def _fetch(self, m, planner, filler, config):
        """Ask for the atoms of what is fetched, and say what they are for."""
        params = self.params
        layout, unit = fetch_layout(params), unit_layout(params)
        m.submodules.fetches = fetches = SyncFIFOBuffered(width=layout.size, depth=4)
        m.submodules.units = units = SyncFIFOBuffered(width=unit.size, depth=params.requests)
        fetch, head = planner.fetch, Signal(layout)
        index, left = self.memory_read.payload, Signal(params.index_bits)
        can_take = Signal()
        m.d.comb += [
            fetch.ready.eq(fetches.w_rdy & units.w_rdy),
            fetches.w_data.eq(fetch.payload),
            fetches.w_en.eq(fetch.valid),
            units.w_data.eq(Cat(fetch.payload.unit, fetch.payload.last)),
            units.w_en.eq(fetch.valid),
            filler.units.payload.eq(units.r_data),
            filler.units.valid.eq(units.r_rdy),
            units.r_en.eq(filler.units.ready),
            head.eq(fetches.r_data),
            can_take.eq(~self.memory_read.valid | self.memory_read.ready & (left == 0)),
            fetches.r_en.eq(can_take),
        ]
        with m.If(can_take):
            m.d.sync += [
                self.memory_read.valid.eq(fetches.r_rdy),
                index.eq(head.index + Mux(head.unit, config.source, 0)),
                left.eq(Mux(head.unit, Mux(head.last, config.last_atom, config.unit_mask), 0)),
            ]
        with m.Elif(self.memory_read.ready):
            m.d.sync += [index.eq(index + 1), left.eq(left - 1)]
        return m
