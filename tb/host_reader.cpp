// The list of reads of tb/host_reader.sv, and what they were answered with.
//
// Reads, one a line: byte address and atoms. Answers, one line a read: its cycles, how many atoms
// were answered with an error, and its bytes in hexadecimal.

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "svdpi.h"

namespace {

struct Read {
    std::int64_t address;
    int atoms;
};

std::vector<Read> reads;
std::FILE* answers = nullptr;
std::string bytes;
int errors = 0;

}  // namespace

extern "C" {

void host_open(const char* from, const char* to) {
    std::FILE* file = std::fopen(from, "r");
    long long address;
    int atoms;
    while (file && std::fscanf(file, "%lld %d", &address, &atoms) == 2)
        reads.push_back({address, atoms});
    if (file) std::fclose(file);
    answers = std::fopen(to, "w");
}

std::int64_t host_address(int number) { return reads.at(number).address; }

int host_atoms(int number) { return reads.at(number).atoms; }

void host_take(int count, const svBitVecVal* data, int response) {
    static const char digits[] = "0123456789abcdef";
    for (int place = 0; place < count; ++place) {
        const unsigned byte = data[place / 4] >> (place % 4 * 8) & 0xFF;
        bytes += digits[byte >> 4];
        bytes += digits[byte & 15];
    }
    errors += response != 0;
}

void host_ended(int, std::int64_t cycles) {
    std::fprintf(answers, "%lld %d %s\n", static_cast<long long>(cycles), errors, bytes.c_str());
    std::fflush(answers);
    bytes.clear();
    errors = 0;
}

}
