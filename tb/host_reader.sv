// A host that reads through a tile's host port (AXI4, bursts of whole atoms) and takes every answer
// at once. What it reads is a list in a file, +host_reads=FILE; a read begins when fewer than
// `permitted` have begun before it. The answers go to +host_answers=FILE (tb/host_reader.cpp).
module host_reader #(
    parameter int ATOM_BITS    = 256,
    parameter int ADDRESS_BITS = 40,
    parameter int BURST        = 16
) (
    input  logic                    clk,
    input  logic                    rst,
    input  logic [31:0]             permitted,
    output logic [31:0]             ended,
    output logic [3:0]              arid, awid,
    output logic [ADDRESS_BITS-1:0] araddr, awaddr,
    output logic [7:0]              arlen, awlen,
    output logic [2:0]              arsize, awsize,
    output logic [1:0]              arburst, awburst,
    output logic                    arlock, awlock,
    output logic [3:0]              arcache, awcache,
    output logic [2:0]              arprot, awprot,
    output logic                    arvalid, awvalid,
    input  logic                    arready, awready,
    input  logic [3:0]              rid, bid,
    input  logic [ATOM_BITS-1:0]    rdata,
    input  logic [1:0]              rresp, bresp,
    input  logic                    rlast,
    input  logic                    rvalid, bvalid,
    output logic                    rready, bready,
    output logic [ATOM_BITS-1:0]    wdata,
    output logic [ATOM_BITS/8-1:0]  wstrb,
    output logic                    wlast, wvalid,
    input  logic                    wready
);
    localparam int OFFSET_BITS = $clog2(ATOM_BITS / 8);

    import "DPI-C" function void host_open(input string reads, input string answers);
    import "DPI-C" function longint host_address(input int number);
    import "DPI-C" function int host_atoms(input int number);
    import "DPI-C" function void host_take(
        input int bytes, input bit [511:0] data, input int response);
    import "DPI-C" function void host_ended(input int number, input longint cycles);

    string reads, answers;
    initial begin
        if ($value$plusargs("host_reads=%s", reads) && $value$plusargs("host_answers=%s", answers))
            host_open(reads, answers);
    end

    assign {arid, awid, arlock, awlock, arprot, awprot} = '0;
    assign {awaddr, awlen, awvalid, wdata, wstrb, wlast, wvalid} = '0;
    assign {awsize, awburst, awcache} = '0;
    assign arsize  = 3'(OFFSET_BITS);
    assign arburst = 2'b01;
    assign arcache = 4'b0011;
    assign rready  = answering;
    assign bready  = 1;

    // Asking is ahead of the answers by any number of reads.
    int unsigned     asking;
    int              to_ask, to_come;
    longint unsigned address, now, begun;
    logic            answering;
    wire  [31:0]     beats = to_ask > BURST ? BURST : to_ask;
    assign arvalid = to_ask != 0;
    assign araddr  = ADDRESS_BITS'(address);
    assign arlen   = 8'(beats - 1);

    always_ff @(posedge clk) begin
        now <= now + 1;
        if (rst) begin
            asking <= 0; ended <= 0; to_ask <= 0; to_come <= 0; answering <= 0; now <= 0;
        end else begin
            if (arvalid && arready) begin
                to_ask  <= to_ask - int'(beats);
                address <= address + (64'(beats) << OFFSET_BITS);
            end else if (to_ask == 0 && asking < permitted) begin
                to_ask  <= host_atoms(asking);
                address <= host_address(asking);
                asking  <= asking + 1;
            end
            if (!answering && ended < asking) begin
                answering <= 1;
                begun     <= now;
                to_come   <= host_atoms(ended);
            end else if (rvalid) begin
                host_take(ATOM_BITS / 8, 512'(rdata), 32'(rresp));
                to_come <= to_come - 1;
                if (to_come == 1) begin
                    host_ended(ended, now - begun + 1);
                    ended     <= ended + 1;
                    answering <= 0;
                end
            end
        end
    end
endmodule
