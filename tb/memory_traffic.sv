// Two requesters in front of a memory controller, with a judge of every answer: tb/memory_traffic.py
// says what they are told and what they write, tb/memory_traffic.cpp does the work.
module memory_traffic #(
    parameter int INDEX_BITS = 24,
    parameter int ATOM_BITS  = 256
) (
    input  logic                    clk,
    input  logic                    rst,
    input  logic [3:0]              corrected,
    output logic                    finished,
    output logic [INDEX_BITS-1:0]   tile_read__payload,  host_read__payload,
    output logic                    tile_read__valid,    host_read__valid,
    input  logic                    tile_read__ready,    host_read__ready,
    input  logic [ATOM_BITS+1:0]    tile_data__payload,  host_data__payload,
    input  logic                    tile_data__valid,    host_data__valid,
    output logic                    tile_data__ready,    host_data__ready,
    output logic [INDEX_BITS+ATOM_BITS+ATOM_BITS/8-1:0] tile_write__payload, host_write__payload,
    output logic                    tile_write__valid,   host_write__valid,
    input  logic                    tile_write__ready,   host_write__ready,
    input  logic                    tile_written__valid, host_written__valid
);
    import "DPI-C" function chandle memory_traffic_new(
        input string text, input string image, input string answer);
    // What one requester saw at this clock edge, and what it shows in the next cycle.
    import "DPI-C" function void memory_traffic_step(
        input chandle traffic, input longint cycle, input int requester,
        input int read_taken, input int write_taken, input int written,
        input int answered, input int fault, input bit [511:0] data,
        output int read_valid, output longint read_index,
        output int write_valid, output longint write_index,
        output bit [511:0] write_data, output longint write_strobe,
        output int data_ready);
    import "DPI-C" function int memory_traffic_finished(
        input chandle traffic, input longint cycle, input int corrected);

    chandle traffic;
    string text, image, answer;
    initial begin
        if (!$value$plusargs("traffic=%s", text)) text = "";
        if (!$value$plusargs("image=%s", image)) image = "";
        if (!$value$plusargs("answer=%s", answer)) answer = "";
        traffic = memory_traffic_new(text, image, answer);
        if (traffic == null) $finish;
    end

    longint     now;
    int         read_valid  [2], write_valid [2], data_ready [2];
    longint     read_index  [2], write_index [2], strobe     [2];
    bit [511:0] data        [2];
    always_ff @(posedge clk) begin
        now <= now + 1;
        finished <= 0;
        if (rst) begin
            now <= 0;
            {tile_read__valid, tile_write__valid, tile_data__ready} <= 0;
            {host_read__valid, host_write__valid, host_data__ready} <= 0;
        end else if (traffic != null) begin
            memory_traffic_step(
                traffic, now, 0, 32'(tile_read__valid && tile_read__ready),
                32'(tile_write__valid && tile_write__ready), 32'(tile_written__valid),
                32'(tile_data__valid && tile_data__ready),
                32'(tile_data__payload[ATOM_BITS+1:ATOM_BITS]),
                512'(tile_data__payload[ATOM_BITS-1:0]),
                read_valid[0], read_index[0], write_valid[0], write_index[0], data[0], strobe[0],
                data_ready[0]);
            memory_traffic_step(
                traffic, now, 1, 32'(host_read__valid && host_read__ready),
                32'(host_write__valid && host_write__ready), 32'(host_written__valid),
                32'(host_data__valid && host_data__ready),
                32'(host_data__payload[ATOM_BITS+1:ATOM_BITS]),
                512'(host_data__payload[ATOM_BITS-1:0]),
                read_valid[1], read_index[1], write_valid[1], write_index[1], data[1], strobe[1],
                data_ready[1]);
            tile_read__valid    <= read_valid[0] != 0;
            tile_read__payload  <= INDEX_BITS'(read_index[0]);
            tile_write__valid   <= write_valid[0] != 0;
            tile_write__payload <= {strobe[0][ATOM_BITS/8-1:0], data[0][ATOM_BITS-1:0],
                                    INDEX_BITS'(write_index[0])};
            tile_data__ready    <= data_ready[0] != 0;
            host_read__valid    <= read_valid[1] != 0;
            host_read__payload  <= INDEX_BITS'(read_index[1]);
            host_write__valid   <= write_valid[1] != 0;
            host_write__payload <= {strobe[1][ATOM_BITS/8-1:0], data[1][ATOM_BITS-1:0],
                                    INDEX_BITS'(write_index[1])};
            host_data__ready    <= data_ready[1] != 0;
            finished <= memory_traffic_finished(traffic, now, 32'(corrected)) != 0;
        end
    end
endmodule
