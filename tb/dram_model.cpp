// The stored bytes and the commands of tb/dram_model.sv; see tb/dram_model.py for its files.
//
// All numbers are handed over as text, and every command is judged by tb/dram_checker.cpp, which
// is linked beside this file: no timing stands here. What ends a simulation is printed to stderr in
// lines that begin with "%Error: ", where tb/simulator.py finds them.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include "svdpi.h"

extern "C" {
void* dram_checker_new(const char* text);
void dram_checker_free(void* checker);
int dram_checker_command(void* checker, long long ck, int command, int stack_id, int bank_group,
                         int bank, int row, int column);
int dram_checker_finish(void* checker, long long ck);
int dram_checker_kept(void* checker);
const char* dram_checker_text(void* checker, int index);
const char* dram_checker_problem(void* checker);
}

namespace {

const int SHOWN_MAX = 20;  // Violations that are printed.
const int ATOM_BYTES_MAX = 64;

void report(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
        std::fprintf(stderr, "%%Error: dram_model: %s\n", line.c_str());
    std::fflush(stderr);
}

std::runtime_error system_error(const std::string& path) {
    return std::runtime_error(path + ": " + std::strerror(errno));
}

// A file that is written in large pieces and can begin anew.
class Output {
public:
    Output(const char* path, const char* head) : path(path), head(head) {
        if (this->path.empty()) return;
        file = std::fopen(path, "w");
        if (!file) throw system_error(path);
        std::setvbuf(file, nullptr, _IOFBF, 1 << 20);
        std::fputs(head, file);
    }

    explicit operator bool() const { return file != nullptr; }

    void restart() {
        if (!file) return;
        std::rewind(file);
        if (ftruncate(fileno(file), 0) != 0) report(system_error(path).what());
        std::fputs(head, file);
    }

    void close() {
        if (!file) return;
        const bool failed = std::ferror(file) != 0;
        if (std::fclose(file) != 0 || failed) report(path + ": cannot be written");
        file = nullptr;
    }

    std::FILE* file = nullptr;

private:
    std::string path;
    const char* head;
};

// Address fields in the order of a trace.
enum Field { STACK_ID, BANK_GROUP, BANK, ROW, COLUMN };
const std::vector<std::string> FIELDS = {"stack_id", "bank_group", "bank", "row", "column"};

enum Kind { OTHER, ACTIVATE, READ, WRITE };

struct Command {
    std::string name;
    bool column = false;
    int phase = 0;
    Kind kind = OTHER;
    int fields = 5;  // How many of stack ID, bank group, bank, row, column a trace shows.
    long long count = 0;
};

struct Sent {
    int command, stack_id, bank_group, bank, row, column;
};

struct Atom {
    unsigned char data[ATOM_BYTES_MAX] = {};
    uint64_t check = 0;
};

struct Answer {
    long long cycle;
    Atom atom;
};

class Model {
public:
    Model(const char* text_path, const char* memory_path, const char* faults_path,
          const char* trace_path, const char* accesses_path, const char* counts_path)
        : trace(trace_path, "ck,command,sid,bank_group,bank,row,column\n"),
          accesses(accesses_path, ""), counts(counts_path, "") {
        read_text(text_path);
        map_memory(memory_path);
        if (*faults_path) read_faults(faults_path);
        restart();
    }

    ~Model() {
        if (checker) dram_checker_free(checker);
    }

    int cycle(long long cycle, const Sent& row, const Sent& column, const svBitVecVal* write_data,
              uint64_t strobe, uint64_t write_check, Answer& answer, bool& answered) {
        if (failed) return -1;
        const bool row_first = row.command >= 0 && column.command >= 0 &&
                               phase(row.command) < phase(column.command);
        if (row_first) take_row(cycle, row);
        if (column.command >= 0) take_column(cycle, column, write_data, strobe, write_check);
        if (row.command >= 0 && !row_first) take_row(cycle, row);
        answered = !answers.empty() && answers.front().cycle <= cycle;
        if (answered) {
            answer = answers.front();
            answers.pop_front();
        }
        return failed ? -1 : static_cast<int>(answers.size());
    }

    int reset(long long cycle) {
        finish(cycle);
        restart();
        return failed ? -1 : 0;
    }

    void close(long long cycle) {
        finish(cycle);
        if (counts)
            for (const Command& command : commands)
                std::fprintf(counts.file, "%s %lld\n", command.name.c_str(), command.count);
        for (Output* output : {&trace, &accesses, &counts}) output->close();
    }

private:
    void fail(const std::string& text) {
        if (!failed) report(text);
        failed = true;
    }

    // The text that Python wrote.
    void read_text(const char* path) {
        std::ifstream file(path);
        if (!file) throw std::runtime_error(std::string("+dram=FILE is needed: ") + path);
        std::string line, kind;
        while (std::getline(file, line) && line != "checker") {
            std::istringstream words(line);
            words >> kind;
            if (kind == "tile") {
                words >> cycle_ck >> read_cycles >> atom_bytes;
            } else if (kind == "field") {
                std::string name;
                int low, bits;
                words >> name >> low >> bits;
                const auto field = std::find(FIELDS.begin(), FIELDS.end(), name);
                if (field == FIELDS.end()) throw std::runtime_error("bad line: " + line);
                lows[field - FIELDS.begin()] = low;
                index_bits += bits;
            } else if (kind == "command") {
                size_t number;
                std::string port;
                Command command;
                words >> number >> command.name >> port >> command.phase;
                if (number != commands.size()) throw std::runtime_error("bad line: " + line);
                command.column = port == "column";
                const std::string& name = command.name;
                command.kind = name == "ACT" ? ACTIVATE : !command.column ? OTHER
                               : name == "RD" || name == "RDA" ? READ : WRITE;
                command.fields = command.column ? 5 : name == "ACT" ? 4
                                 : name == "PRE" || name == "REFpb" ? 3 : 0;
                commands.push_back(command);
            } else if (kind == "inline") {
                words >> inverted_place;
                for (int place = 0; place < index_bits - 3; ++place) {
                    int bit = -1;
                    words >> bit;
                    check_order.push_back(bit);
                }
            } else if (kind == "check") {
                for (int bit = 0; bit < 64; ++bit) {
                    int column;
                    words >> column;
                    for (int value = 0; value < 256; ++value)
                        if (value >> bit % 8 & 1) parity[bit / 8][value] ^= column;
                }
                coded = true;
            } else {
                throw std::runtime_error("unknown line: " + line);
            }
            if (!words) throw std::runtime_error("bad line: " + line);
        }
        std::stringstream rest;
        rest << file.rdbuf();
        checker_text = rest.str();
        if (cycle_ck < 1 || read_cycles < 1 || atom_bytes < 8 || atom_bytes > ATOM_BYTES_MAX ||
            index_bits < 1)
            throw std::runtime_error("the description of the memory is not whole");
        bytes = static_cast<long long>(atom_bytes) << index_bits;
    }

    void map_memory(const char* path) {
        const int file = open(path, O_RDWR);
        struct stat status;
        if (file < 0 || fstat(file, &status) != 0)
            throw std::runtime_error("+memory=FILE is needed: " + std::string(path) + ": " +
                                     std::strerror(errno));
        if (status.st_size > bytes)
            throw std::runtime_error(std::string(path) + " has " + std::to_string(status.st_size) +
                                     " bytes, more than the pseudo-channel's " +
                                     std::to_string(bytes));
        if (ftruncate(file, bytes) != 0) throw system_error(path);
        void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                            file, 0);
        if (mapped == MAP_FAILED) throw system_error(path);
        memory = static_cast<unsigned char*>(mapped);
        if (coded && !in_memory()) {
            mapped = mmap(nullptr, bytes / 8, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (mapped == MAP_FAILED) throw system_error("check bits");
            check = static_cast<unsigned char*>(mapped);
        } else if (coded) {
            check = memory + data_bytes();
        }
        if (check) encode(file);
        ::close(file);
    }

    // Check bits are in the memory's highest eighth, not beside its atoms.
    bool in_memory() const { return !check_order.empty(); }

    bool beside() const { return coded && !in_memory(); }

    long long data_bytes() const { return in_memory() ? bytes - bytes / 8 : bytes; }

    unsigned char& check_of(long long word) {
        if (!in_memory()) return check[word];
        const int words = atom_bytes / 8;
        const long long atom = word / words;
        long long number = inverted_place < 0 ? 0 : 1LL << inverted_place;
        for (size_t place = 0; place < check_order.size(); ++place)
            number ^= (atom >> check_order[place] & 1) << place;
        return check[number * atom_bytes + atom % 8 * words + word % words];
    }

    // Check bits of what the file holds; words of zeros have check bits of zero.
    void encode(int file) {
        off_t first = 0;
        const off_t data_end = data_bytes();
        while (first < data_end && (first = lseek(file, first, SEEK_DATA)) >= 0) {
            const off_t end = std::min<off_t>(lseek(file, first, SEEK_HOLE), data_end);
            for (off_t word = first / 8; word * 8 < end; ++word) {
                uint64_t value;
                std::memcpy(&value, memory + word * 8, 8);
                if (value == 0) continue;
                unsigned char bits = 0;
                for (int byte = 0; byte < 8; ++byte) bits ^= parity[byte][value >> 8 * byte & 255];
                check_of(word) = bits;
            }
            first = end;
        }
    }

    void read_faults(const char* path) {
        std::ifstream file(path);
        if (!file) throw system_error(path);
        std::string line, kind, place;
        for (int number = 1; std::getline(file, line); ++number) {
            std::istringstream words(line);
            if (!(words >> kind)) continue;
            const std::string where = std::string(path) + ":" + std::to_string(number) + ": ";
            std::vector<long long> values;
            try {
                while (words >> place) values.push_back(std::stoll(place, nullptr, 0));
            } catch (const std::exception&) {
                throw std::runtime_error(where + "no number: " + place);
            }
            const bool silence = kind == "silent";
            if ((!silence && kind != "read" && kind != "store") || values.size() < 2 ||
                (silence && values.size() != 2) || values[0] < 0)
                throw std::runtime_error(where + "a fault is `read NUMBER BIT...`, `store ADDRESS "
                                         "BIT...` or `silent FIRST COUNT`, not: " + line);
            if (silence) {
                silent.push_back({values[0], values[0] + values[1]});
                continue;
            }
            if (kind == "store" && (values[0] % atom_bytes || values[0] >= bytes))
                throw std::runtime_error(where + "there is no atom at " + line);
            const bool checked = beside() || (coded && kind == "store" && values[0] < data_bytes());
            const int bits_most = atom_bytes * (checked ? 9 : 8);
            for (size_t index = 1; index < values.size(); ++index) {
                const long long bit = values[index];
                if (bit < 0 || bit >= bits_most)
                    throw std::runtime_error(where + "bits are 0 to " +
                                             std::to_string(bits_most - 1) + ", not " +
                                             std::to_string(bit));
                if (kind == "read")
                    flips[values[0]].push_back(static_cast<int>(bit));
                else if (bit < 8 * atom_bytes)
                    memory[values[0] + bit / 8] ^= 1 << bit % 8;
                else
                    check_of(values[0] / 8 + bit / 8 - atom_bytes) ^= 1 << bit % 8;
            }
        }
    }

    void restart() {
        if (checker) dram_checker_free(checker);
        checker = dram_checker_new(checker_text.c_str());
        if (!checker) throw std::runtime_error(dram_checker_problem(nullptr));
        answers.clear();
        open_row.clear();
        for (Command& command : commands) command.count = 0;
        trace.restart();
        accesses.restart();
    }

    int phase(int command) const {
        return command < static_cast<int>(commands.size()) ? commands[command].phase : 0;
    }

    void judge(int found) {
        if (found == 0) return;
        if (found < 0) return fail(dram_checker_problem(checker));
        std::string text;
        for (int index = 0; index < std::min(dram_checker_kept(checker), SHOWN_MAX); ++index)
            text += std::string(dram_checker_text(checker, index)) + "\n";
        fail(text);
    }

    void finish(long long cycle) {
        if (!failed) judge(dram_checker_finish(checker, cycle * cycle_ck));
    }

    // Judge, count and trace one command; whether it may take effect.
    bool take(long long cycle, const Sent& sent, bool column) {
        if (failed) return false;
        const long long ck = cycle * cycle_ck + phase(sent.command);
        if (sent.command >= static_cast<int>(commands.size()) ||
            commands[sent.command].column != column) {
            fail(std::string("the ") + (column ? "column" : "row") + " port carries command " +
                 std::to_string(sent.command) + " at ck " + std::to_string(ck) +
                 ", which does not belong there");
            return false;
        }
        Command& command = commands[sent.command];
        ++command.count;
        if (trace) {
            std::fprintf(trace.file, "%lld,%s", ck, command.name.c_str());
            const int values[] = {sent.stack_id, sent.bank_group, sent.bank, sent.row,
                                  sent.column};
            for (int field = 0; field < 5; ++field)
                if (field < command.fields)
                    std::fprintf(trace.file, ",%d", values[field]);
                else
                    std::fputc(',', trace.file);
            std::fputc('\n', trace.file);
        }
        judge(dram_checker_command(checker, ck, sent.command, sent.stack_id, sent.bank_group,
                                   sent.bank, sent.row, sent.column));
        return !failed;
    }

    long long bank_index(const Sent& sent) const {
        return static_cast<long long>(sent.stack_id) << lows[STACK_ID] |
               static_cast<long long>(sent.bank) << lows[BANK] |
               static_cast<long long>(sent.bank_group) << lows[BANK_GROUP];
    }

    void take_row(long long cycle, const Sent& sent) {
        if (take(cycle, sent, false) && commands[sent.command].kind == ACTIVATE)
            open_row[bank_index(sent)] = sent.row;
    }

    void take_column(long long cycle, const Sent& sent, const svBitVecVal* write_data,
                     uint64_t strobe, uint64_t write_check) {
        if (!take(cycle, sent, true)) return;
        // The open row counts, whatever the command says that it means.
        const long long bank = bank_index(sent);
        const long long address = atom_bytes * (
            bank | static_cast<long long>(sent.column) << lows[COLUMN] |
            static_cast<long long>(open_row.at(bank)) << lows[ROW]);
        const bool write = commands[sent.command].kind == WRITE;
        if (accesses) std::fprintf(accesses.file, "%s 0x%llx\n", write ? "ST" : "LD", address);
        if (write)
            store(address, reinterpret_cast<const unsigned char*>(write_data), strobe,
                  write_check);
        else
            answer(cycle, address);
    }

    void store(long long address, const unsigned char* data, uint64_t strobe,
               uint64_t write_check) {
        for (int byte = 0; byte < atom_bytes; ++byte)
            if (strobe >> byte & 1) memory[address + byte] = data[byte];
        if (!beside()) return;
        for (int word = 0; word < atom_bytes / 8; ++word) {
            const int written = strobe >> 8 * word & 255;
            if (written == 255)
                check[address / 8 + word] = write_check >> 8 * word & 255;
            else if (written != 0)
                return fail("the write to " + std::to_string(address) + " has only some bytes of "
                            "its 64-bit word " + std::to_string(word) + ", whose check bits are "
                            "those of all eight");
        }
    }

    void answer(long long cycle, long long address) {
        const long long number = reads++;
        for (const auto& range : silent)
            if (number >= range.first && number < range.second) return;
        answers.emplace_back();
        Answer& answer = answers.back();
        answer.cycle = cycle + read_cycles - 1;
        std::memcpy(answer.atom.data, memory + address, atom_bytes);
        if (beside()) std::memcpy(&answer.atom.check, check + address / 8, atom_bytes / 8);
        if (flips.empty()) return;
        const auto found = flips.find(number);
        if (found == flips.end()) return;
        for (int bit : found->second)
            if (bit < 8 * atom_bytes)
                answer.atom.data[bit / 8] ^= 1 << bit % 8;
            else
                answer.atom.check ^= uint64_t{1} << (bit - 8 * atom_bytes);
    }

    int cycle_ck = 0, read_cycles = 0, atom_bytes = 0, index_bits = 0;
    int lows[5] = {};  // Lowest bit of each field of an atom's index.
    std::vector<Command> commands;
    bool coded = false;            // Whether there are check bits.
    std::vector<int> check_order;  // Of inline check bits: see InlineEccParams.check_order.
    int inverted_place = -1;
    unsigned char parity[8][256] = {};
    std::string checker_text;

    long long bytes = 0;
    unsigned char *memory = nullptr, *check = nullptr;
    std::map<long long, int> open_row;  // By bank_index.

    long long reads = 0;
    std::map<long long, std::vector<int>> flips;
    std::vector<std::pair<long long, long long>> silent;

    Output trace, accesses, counts;
    std::deque<Answer> answers;
    void* checker = nullptr;
    bool failed = false;
};

}  // namespace

extern "C" {

void* dram_model_new(const char* text, const char* memory, const char* faults, const char* trace,
                     const char* accesses, const char* counts) {
    try {
        return new Model(text, memory, faults, trace, accesses, counts);
    } catch (const std::exception& error) {
        report(error.what());
        return nullptr;
    }
}

int dram_model_cycle(void* model, long long cycle, int row_command, int row_stack_id,
                     int row_bank_group, int row_bank, int row_row, int column_command,
                     int column_stack_id, int column_bank_group, int column_bank, int column_row,
                     int column_column, const svBitVecVal* write_data, long long write_strobe,
                     long long write_ecc, int* read_valid, svBitVecVal* read_data,
                     long long* read_ecc) {
    Answer answer;
    bool answered = false;
    const int pending = static_cast<Model*>(model)->cycle(
        cycle, {row_command, row_stack_id, row_bank_group, row_bank, row_row, 0},
        {column_command, column_stack_id, column_bank_group, column_bank, column_row,
         column_column},
        write_data, write_strobe, write_ecc, answer, answered);
    *read_valid = answered;
    std::memcpy(read_data, answer.atom.data, sizeof answer.atom.data);
    *read_ecc = static_cast<long long>(answer.atom.check);
    return pending;
}

int dram_model_reset(void* model, long long cycle) {
    return static_cast<Model*>(model)->reset(cycle);
}

void dram_model_free(void* model, long long cycle) {
    static_cast<Model*>(model)->close(cycle);
    delete static_cast<Model*>(model);
}

}
