// AXI4 memory that always answers: one beat per cycle in both directions, reads in order after
// LATENCY cycles. Its bytes are those of a file, given by +memory=FILE, and are written back to it
// (tb/axi4_memory.cpp). An access behind the end of the file answers SLVERR.
module axi4_memory #(
    parameter int ADDRESS_BITS = 34,
    parameter int ATOM_BITS = 256,
    parameter int LATENCY = 64,
    parameter int READS = 64,
    parameter int WRITES = 16
) (
    input  logic                    clk,
    input  logic                    rst,
    input  logic [ADDRESS_BITS-1:0] araddr,
    input  logic [7:0]              arlen,
    input  logic                    arvalid,
    output logic                    arready,
    output logic [ATOM_BITS-1:0]    rdata,
    output logic [1:0]              rresp,
    output logic                    rlast,
    output logic                    rvalid,
    input  logic                    rready,
    input  logic [ADDRESS_BITS-1:0] awaddr,
    input  logic                    awvalid,
    output logic                    awready,
    input  logic [ATOM_BITS-1:0]    wdata,
    input  logic                    wlast,
    input  logic                    wvalid,
    output logic                    wready,
    output logic [1:0]              bresp,
    output logic                    bvalid,
    input  logic                    bready
);
    localparam int OFFSET_BITS = $clog2(ATOM_BITS / 8);

    import "DPI-C" function void memory_open(input string path);
    import "DPI-C" function int memory_read(
        input longint index, input int bytes, output bit [511:0] data);
    import "DPI-C" function int memory_write(
        input longint index, input int bytes, input bit [511:0] data);

    string path;
    initial begin
        if (!$value$plusargs("memory=%s", path)) $fatal(1, "axi4_memory: +memory=FILE is missing");
        memory_open(path);
    end

    // Reads: bursts wait in a ring until their time has come, then give a beat per cycle.
    longint unsigned now;
    longint unsigned read_index [READS];
    longint unsigned read_time  [READS];
    logic [7:0]      read_len   [READS];
    int unsigned     read_head, read_tail, read_count;
    logic [7:0]      read_beat;
    bit   [511:0]    read_data;
    assign arready = read_count < READS;

    always_ff @(posedge clk) begin
        int unsigned count;
        count = read_count;
        now <= now + 1;
        if (rst) begin
            read_head <= 0; read_tail <= 0; read_count <= 0; read_beat <= 0; rvalid <= 0;
        end else begin
            if (arvalid && arready) begin
                read_index[read_tail] <= 64'(araddr >> OFFSET_BITS);
                read_len[read_tail]   <= arlen;
                read_time[read_tail]  <= now + LATENCY;
                read_tail <= (read_tail + 1) % READS;
                count = count + 1;
            end
            if (!rvalid || rready) begin
                rvalid <= 0;
                if (read_count != 0 && now >= read_time[read_head]) begin
                    rresp <= memory_read(read_index[read_head] + 64'(read_beat), ATOM_BITS / 8,
                                         read_data) != 0 ? 2'b00 : 2'b10;
                    rdata  <= read_data[ATOM_BITS-1:0];
                    rlast  <= read_beat == read_len[read_head];
                    rvalid <= 1;
                    read_beat <= read_beat + 1;
                    if (read_beat == read_len[read_head]) begin
                        read_beat <= 0;
                        read_head <= (read_head + 1) % READS;
                        count = count - 1;
                    end
                end
            end
            read_count <= count;
        end
    end

    // Writes: the addresses of bursts wait in a ring for their beats, which may come with their
    // address and then one per cycle, from one burst to the next as well.
    longint unsigned write_index [WRITES];
    int unsigned     write_head, write_tail, write_count, responses;
    longint unsigned write_beat;
    logic            write_failed;
    logic [1:0]      response [WRITES];
    int unsigned     response_head, response_tail;
    wire             asked  = awvalid && awready;
    wire             beat   = wvalid && wready;
    assign awready = write_count + responses < WRITES;
    assign wready  = write_count != 0 || asked;
    assign bvalid  = responses != 0;
    assign bresp   = response[response_head];

    always_ff @(posedge clk) begin
        if (rst) begin
            write_head <= 0; write_tail <= 0; write_count <= 0; write_beat <= 0; write_failed <= 0;
            response_head <= 0; response_tail <= 0; responses <= 0;
        end else begin
            if (asked) begin
                write_index[write_tail] <= 64'(awaddr >> OFFSET_BITS);
                write_tail <= (write_tail + 1) % WRITES;
            end
            if (beat) begin
                longint unsigned first;
                logic            failed;
                first  = write_count != 0 ? write_index[write_head] : 64'(awaddr >> OFFSET_BITS);
                failed = write_failed
                    | (memory_write(first + write_beat, ATOM_BITS / 8, 512'(wdata)) == 0);
                write_failed <= failed && !wlast;
                write_beat   <= wlast ? 0 : write_beat + 1;
                if (wlast) begin
                    write_head <= (write_head + 1) % WRITES;
                    response[response_tail] <= failed ? 2'b10 : 2'b00;
                    response_tail <= (response_tail + 1) % WRITES;
                end
            end
            if (bvalid && bready) response_head <= (response_head + 1) % WRITES;
            write_count <= write_count + 32'(asked) - 32'(beat && wlast);
            responses   <= responses + 32'(beat && wlast) - 32'(bvalid && bready);
        end
    end
endmodule
