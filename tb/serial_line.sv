// The other end of a trial design's serial line: bytes from and to a pseudo-terminal
// (tb/serial_line.cpp), a bit in DIVIDER clock cycles. `finished` rises when the file of +line=FILE,
// which holds the pseudo-terminal's name, has been removed.
module serial_line #(
    parameter int DIVIDER = 4
) (
    input  logic clk,
    input  logic rst,
    output logic rx,
    input  logic tx,
    output logic finished
);
    import "DPI-C" function void line_open(input string path);
    // A byte from the host, or -1; called in every cycle in which one could be sent.
    import "DPI-C" function int line_receive();
    import "DPI-C" function void line_send(input int value);
    import "DPI-C" function int line_finished();

    string path;
    initial begin
        if (!$value$plusargs("line=%s", path)) $fatal(1, "serial_line: +line=FILE is missing");
        line_open(path);
    end

    // Towards the design: start bit, eight data bits, stop bit.
    logic [9:0] sending;
    int         send_bits, send_left;
    assign rx = send_bits == 0 ? 1'b1 : sending[0];
    always_ff @(posedge clk) begin
        int value;
        finished <= line_finished() != 0;
        if (rst) send_bits <= 0;
        else if (send_bits == 0) begin
            value = line_receive();
            if (value >= 0) begin
                sending <= {1'b1, value[7:0], 1'b0};
                send_bits <= 10;
                send_left <= DIVIDER - 1;
            end
        end else if (send_left != 0) send_left <= send_left - 1;
        else begin
            sending <= {1'b1, sending[9:1]};
            send_bits <= send_bits - 1;
            send_left <= DIVIDER - 1;
        end
    end

    // From the design: a bit is read in its middle; a byte without stop bit is an error.
    logic [7:0] coming;
    int         take_bits, take_left;
    always_ff @(posedge clk) begin
        if (rst) take_bits <= 0;
        else if (take_bits == 0) begin
            if (!tx) begin
                take_bits <= 10;
                take_left <= DIVIDER / 2;
            end
        end else if (take_left != 0) take_left <= take_left - 1;
        else begin
            take_left <= DIVIDER - 1;
            take_bits <= take_bits - 1;
            if (take_bits == 10 && tx) $fatal(1, "serial_line: a start bit that did not last");
            if (take_bits < 10 && take_bits > 1) coming <= {tx, coming[7:1]};
            if (take_bits == 1) begin
                if (!tx) $fatal(1, "serial_line: a byte without stop bit");
                line_send(32'(coming));
            end
        end
    end
endmodule
