// The DRAM of one pseudo-channel behind a controller's command port: tb/dram_model.py says what it
// is told and what it writes, tb/dram_model.cpp does the work.
//
// A command is taken at the clock edge at which its valid is high. The data of a read stands on
// dram_read_* at the first edge at which its burst has arrived. Reset makes the device new: all
// banks closed, time zero, no read under way; the stored bytes stay.
module dram_model #(
    parameter int ATOM_BITS       = 256,
    parameter int STACK_ID_BITS   = 1,
    parameter int BANK_GROUP_BITS = 2,
    parameter int BANK_BITS       = 2,
    parameter int ROW_BITS        = 14,
    parameter int COLUMN_BITS     = 5
) (
    input  logic                       clk,
    input  logic                       rst,
    input  logic                       dram_row_valid,
    input  logic [3:0]                 dram_row_command,
    input  logic [STACK_ID_BITS-1:0]   dram_row_stack_id,
    input  logic [BANK_GROUP_BITS-1:0] dram_row_bank_group,
    input  logic [BANK_BITS-1:0]       dram_row_bank,
    input  logic [ROW_BITS-1:0]        dram_row_row,
    input  logic                       dram_column_valid,
    input  logic [3:0]                 dram_column_command,
    input  logic [STACK_ID_BITS-1:0]   dram_column_stack_id,
    input  logic [BANK_GROUP_BITS-1:0] dram_column_bank_group,
    input  logic [BANK_BITS-1:0]       dram_column_bank,
    input  logic [ROW_BITS-1:0]        dram_column_row,
    input  logic [COLUMN_BITS-1:0]     dram_column_column,
    input  logic [ATOM_BITS-1:0]       dram_write_data,
    input  logic [ATOM_BITS/8-1:0]     dram_write_strobe,
    input  logic [ATOM_BITS/8-1:0]     dram_write_ecc,
    output logic                       dram_read_valid,
    output logic [ATOM_BITS-1:0]       dram_read_data,
    output logic [ATOM_BITS/8-1:0]     dram_read_ecc
);
    import "DPI-C" function chandle dram_model_new(
        input string text, input string memory, input string faults, input string trace,
        input string accesses, input string counts);
    // One tile cycle; a command of -1 is none. Returns how many reads are under way, or -1 when a
    // rule is broken.
    import "DPI-C" function int dram_model_cycle(
        input chandle model, input longint cycle,
        input int row_command, input int row_stack_id, input int row_bank_group,
        input int row_bank, input int row_row,
        input int column_command, input int column_stack_id, input int column_bank_group,
        input int column_bank, input int column_row, input int column_column,
        input bit [511:0] write_data, input longint write_strobe, input longint write_ecc,
        output int read_valid, output bit [511:0] read_data, output longint read_ecc);
    import "DPI-C" function int dram_model_reset(input chandle model, input longint cycle);
    import "DPI-C" function void dram_model_free(input chandle model, input longint cycle);

    chandle model;
    string text, memory, faults, trace, accesses, counts;
    initial begin
        if (!$value$plusargs("dram=%s", text)) text = "";
        if (!$value$plusargs("memory=%s", memory)) memory = "";
        if (!$value$plusargs("faults=%s", faults)) faults = "";
        if (!$value$plusargs("trace=%s", trace)) trace = "";
        if (!$value$plusargs("accesses=%s", accesses)) accesses = "";
        if (!$value$plusargs("counts=%s", counts)) counts = "";
        model = dram_model_new(text, memory, faults, trace, accesses, counts);
        if (model == null) $finish;
    end

    longint     now;      // Tile cycles since reset.
    int         pending;  // Reads under way.
    int         valid;
    bit [511:0] data;
    longint     ecc;
    always_ff @(posedge clk) begin
        dram_read_valid <= 0;
        now <= now + 1;
        if (rst) begin
            now <= 0;
            pending = 0;
            if (now != 0 && model != null && dram_model_reset(model, now) < 0) $finish;
        end else if (model != null && (dram_row_valid || dram_column_valid || pending != 0)) begin
            pending = dram_model_cycle(
                model, now,
                dram_row_valid ? 32'(dram_row_command) : -1, 32'(dram_row_stack_id),
                32'(dram_row_bank_group), 32'(dram_row_bank), 32'(dram_row_row),
                dram_column_valid ? 32'(dram_column_command) : -1, 32'(dram_column_stack_id),
                32'(dram_column_bank_group), 32'(dram_column_bank), 32'(dram_column_row),
                32'(dram_column_column),
                512'(dram_write_data), 64'(dram_write_strobe), 64'(dram_write_ecc),
                valid, data, ecc);
            if (pending < 0) $finish;
            dram_read_valid <= valid != 0;
            dram_read_data  <= data[ATOM_BITS-1:0];
            dram_read_ecc   <= ecc[ATOM_BITS/8-1:0];
        end
    end

    final if (model != null) dram_model_free(model, now);
endmodule
