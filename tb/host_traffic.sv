// Random traffic at a tile's host port (AXI4, bursts of one whole atom), every answer judged by
// tb/memory_traffic.sv.
module host_traffic #(
    parameter int INDEX_BITS   = 24,
    parameter int ATOM_BITS    = 256,
    parameter int ADDRESS_BITS = 40
) (
    input  logic                    clk,
    input  logic                    rst,
    output logic                    finished,
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

    logic [INDEX_BITS-1:0] read, write;
    logic write_valid, write_ready, aw_taken, w_taken;
    assign {arid, awid, arlen, awlen, arlock, awlock, arprot, awprot} = '0;
    assign arsize  = 3'(OFFSET_BITS);
    assign awsize  = 3'(OFFSET_BITS);
    assign arburst = 2'b01;
    assign awburst = 2'b01;
    assign arcache = 4'b0011;
    assign awcache = 4'b0011;
    assign araddr  = ADDRESS_BITS'(read) << OFFSET_BITS;
    assign awaddr  = ADDRESS_BITS'(write) << OFFSET_BITS;
    assign wlast   = 1;
    assign bready  = 1;

    // A write is taken when both its address and its data are.
    assign awvalid     = write_valid && !aw_taken;
    assign wvalid      = write_valid && !w_taken;
    assign write_ready = (aw_taken || awready) && (w_taken || wready);
    always_ff @(posedge clk) begin
        aw_taken <= !rst && write_valid && !write_ready && (aw_taken || awready);
        w_taken  <= !rst && write_valid && !write_ready && (w_taken || wready);
    end

    /* verilator lint_off PINCONNECTEMPTY */
    memory_traffic #(.INDEX_BITS(INDEX_BITS), .ATOM_BITS(ATOM_BITS)) traffic (
        .clk(clk), .rst(rst), .corrected('0), .finished(finished),
        .tile_read__payload(), .tile_read__valid(), .tile_read__ready('0),
        .tile_data__payload('0), .tile_data__valid('0), .tile_data__ready(),
        .tile_write__payload(), .tile_write__valid(), .tile_write__ready('0),
        .tile_written__valid('0),
        .host_read__payload(read), .host_read__valid(arvalid), .host_read__ready(arready),
        .host_data__payload({1'b0, rresp != 0, rdata}), .host_data__valid(rvalid),
        .host_data__ready(rready),
        .host_write__payload({wstrb, wdata, write}), .host_write__valid(write_valid),
        .host_write__ready(write_ready), .host_written__valid(bvalid)
    );
endmodule
