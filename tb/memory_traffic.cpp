// The two requesters of tb/memory_traffic.sv; see tb/memory_traffic.py for what they are told.
//
// The judge knows of every atom which writes were under way when. A byte that is read must be that
// of the last write that was complete when the read was accepted, or of a later one that was
// accepted before the answer came.
#include <algorithm>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unordered_map>
#include <vector>

#include "svdpi.h"

namespace {

const int ATOM_BYTES_MAX = 64;
const int SHOWN_MAX = 10;
// Cycles without an access taken or answered, while some are under way, after which none will be.
const long long STUCK_CYCLES = 20000;

// Addresses of one kind of access: COUNT of them, from FIRST on or at random within SPAN.
struct Plan {
    long long count = 0, first = 0, span = 1;
    bool random = false;
    double idle = 0.0;
};

struct Write {
    long long accepted, completed = LLONG_MAX;
    unsigned char data[ATOM_BYTES_MAX];
    uint64_t strobe;
};

struct Read {
    long long index, accepted;
};

struct Requester {
    Plan reads, writes;
    double stall = 0.0, partial = 0.0;
    // Reads per write, where the two go hand in hand; 0 where they do not.
    long long ratio = 0;
    long long reads_offered = 0, reads_taken = 0, reads_answered = 0;
    long long writes_offered = 0, writes_taken = 0, writes_done = 0;
    bool read_valid = false, write_valid = false, data_ready = false;
    long long read_index = 0, write_index = 0;
    Write write;
    std::deque<Read> under_way;
    std::deque<std::pair<long long, size_t>> unwritten;  // Atom and number of its write.
    long long first = -1, last = 0;
};

struct History {
    std::vector<Write> writes;
    size_t dropped = 0;
};

class Traffic {
public:
    Traffic(const char* text, const char* image, const char* answer) : answer(answer) {
        std::ifstream file(text);
        std::string line;
        while (std::getline(file, line)) {
            std::istringstream words(line);
            std::string kind, pattern;
            int who = 0;
            words >> kind;
            if (kind == "atom") words >> bytes;
            if (kind == "seed") { long long seed; words >> seed; random.seed(seed); }
            if (kind == "lead") words >> lead;
            if (kind == "reads" || kind == "writes") {
                words >> who;
                Plan& plan = kind == "reads" ? requesters[who].reads : requesters[who].writes;
                words >> plan.count >> pattern >> plan.first >> plan.span >> plan.idle;
                plan.random = pattern == "random";
            }
            if (kind == "answers") words >> who >> requesters[who].stall;
            if (kind == "partial") words >> who >> requesters[who].partial;
            if (kind == "ratio") words >> who >> requesters[who].ratio;
            if (!words && !words.eof()) std::fprintf(stderr, "%%Error: %s\n", line.c_str());
        }
        const int descriptor = *image ? open(image, O_RDONLY) : -1;
        struct stat status;
        if (descriptor >= 0 && fstat(descriptor, &status) == 0) {
            base_bytes = status.st_size;
            base = static_cast<unsigned char*>(
                mmap(nullptr, base_bytes, PROT_READ, MAP_PRIVATE, descriptor, 0));
        }
    }

    void step(long long cycle, Requester& one, bool read_taken, bool write_taken, bool written,
              bool answered, int fault, const unsigned char* data) {
        if (read_taken || write_taken || written || answered) moved = cycle;
        if (written) complete(one, cycle);
        if (answered) judge(one, cycle, fault, data);
        if (read_taken) {
            one.under_way.push_back({one.read_index, cycle});
            if (one.first < 0) one.first = cycle;
            ++one.reads_taken;
            one.read_valid = false;
        }
        if (write_taken) {
            History& history = histories[one.write_index];
            one.write.accepted = cycle;
            history.writes.push_back(one.write);
            one.unwritten.push_back(
                {one.write_index, history.dropped + history.writes.size() - 1});
            if (one.first < 0) one.first = cycle;
            ++one.writes_taken;
            one.write_valid = false;
        }
        offer(one);
        if (!one.data_ready || answered || one.stall == 0.0)
            one.data_ready = !chance(one.stall);
    }

    bool finished(long long cycle) {
        if (cycle > moved + STUCK_CYCLES) {
            if (!reported) fail(cycle, "nothing moves: " + waiting());
            reported = true;
            return true;
        }
        long long first = LLONG_MAX, last = 0, reads = 0, writes = 0;
        for (Requester& one : requesters) {
            if (one.reads_answered != one.reads.count || one.writes_done != one.writes.count)
                return false;
            if (one.first >= 0) first = std::min(first, one.first);
            last = std::max(last, one.last);
            reads += one.reads_answered;
            writes += one.writes_done;
        }
        if (!reported) {
            reported = true;
            std::ofstream file(answer);
            file << "{\"cycles\": " << last - first + 1 << ", \"reads\": " << reads
                 << ", \"writes\": " << writes << ", \"wrong\": " << wrong
                 << ", \"corrected\": " << corrected << ", \"faults\": [" << faults[0] << ", " << faults[1] << ", " << faults[2]
                 << ", " << faults[3] << "], \"requesters\": [";
            for (int who = 0; who < 2; ++who)
                file << (who ? ", " : "") << "{\"reads\": " << requesters[who].reads_answered
                     << ", \"first\": " << requesters[who].first
                     << ", \"last\": " << requesters[who].last << "}";
            file << "]}\n";
        }
        return true;
    }

    Requester requesters[2];
    int bytes = 32;
    long long corrected = 0;

private:
    bool chance(double probability) {
        return probability > 0.0 && std::uniform_real_distribution<>()(random) < probability;
    }

    long long next(const Plan& plan, long long number) {
        if (!plan.random) return plan.first + number % plan.span;
        return plan.first + std::uniform_int_distribution<long long>(0, plan.span - 1)(random);
    }

    void offer(Requester& one) {
        const bool reads_wait = one.ratio && one.writes_taken < one.writes.count &&
                                one.reads_offered >= (one.writes_taken + lead) * one.ratio;
        const bool writes_wait = one.ratio && one.reads_offered < one.reads.count &&
                                 one.reads_offered < one.writes_offered * one.ratio;
        if (!one.read_valid && one.reads_offered < one.reads.count && !reads_wait &&
            !chance(one.reads.idle)) {
            one.read_index = next(one.reads, one.reads_offered++);
            one.read_valid = true;
        }
        if (!one.write_valid && one.writes_offered < one.writes.count && !writes_wait &&
            !chance(one.writes.idle)) {
            one.write_index = next(one.writes, one.writes_offered++);
            one.write_valid = true;
            for (int place = 0; place < bytes; place += 8) {
                const uint64_t word = random();
                std::memcpy(one.write.data + place, &word, 8);
            }
            one.write.strobe = chance(one.partial) ? random() : ~0ull;
        }
    }

    std::string waiting() const {
        std::ostringstream text;
        for (const Requester& one : requesters)
            text << one.reads_taken - one.reads_answered << " reads and "
                 << one.writes_taken - one.writes_done << " writes are under way, ";
        return text.str() + "in this order: tile, host";
    }

    void complete(Requester& one, long long cycle) {
        if (one.unwritten.empty()) return fail(cycle, "a write was done that was never asked for");
        auto [index, number] = one.unwritten.front();
        one.unwritten.pop_front();
        History& history = histories[index];
        history.writes[number - history.dropped].completed = cycle;
        ++one.writes_done;
        one.last = cycle;
    }

    void judge(Requester& one, long long cycle, int fault, const unsigned char* data) {
        if (one.under_way.empty()) return fail(cycle, "an answer came that nobody asked for");
        const Read read = one.under_way.front();
        one.under_way.pop_front();
        ++one.reads_answered;
        one.last = cycle;
        ++faults[fault & 3];
        if (fault) return;
        const long long place = read.index * bytes;
        auto found = histories.find(read.index);
        for (int byte = 0; byte < bytes; ++byte) {
            bool right = false, overwritten = false;
            if (found != histories.end()) {
                const std::vector<Write>& writes = found->second.writes;
                for (size_t number = writes.size(); number-- && !right && !overwritten;) {
                    const Write& write = writes[number];
                    if (!(write.strobe >> byte & 1) || write.accepted > cycle) continue;
                    right = write.data[byte] == data[byte];
                    overwritten = write.completed < read.accepted;
                }
            }
            if (!right && !overwritten)
                right = data[byte] == (base && place + byte < base_bytes ? base[place + byte] : 0);
            if (!right) {
                fail(cycle, "atom " + std::to_string(read.index) + ", byte " +
                            std::to_string(byte) + ": read " + std::to_string(data[byte]));
                break;
            }
        }
        if (found != histories.end()) forget(found->second);
    }

    // What is behind a complete write of the whole atom is never seen again.
    void forget(History& history) {
        long long oldest = LLONG_MAX;
        for (const Requester& one : requesters)
            if (!one.under_way.empty()) oldest = std::min(oldest, one.under_way.front().accepted);
        size_t number = history.writes.size();
        while (number-- > 1) {
            const Write& write = history.writes[number];
            if (write.strobe != ~0ull || write.completed >= oldest) continue;
            // Writes are complete in the order of each requester; the oldest ones must be.
            for (size_t before = 0; before < number; ++before)
                if (history.writes[before].completed == LLONG_MAX) return;
            history.writes.erase(history.writes.begin(), history.writes.begin() + number);
            history.dropped += number;
            return;
        }
    }

    void fail(long long cycle, const std::string& what) {
        if (wrong++ < SHOWN_MAX)
            std::fprintf(stderr, "%%Error: memory_traffic: cycle %lld: %s\n", cycle, what.c_str());
    }

    std::string answer;
    std::mt19937_64 random;
    long long lead = 8;
    unsigned char* base = nullptr;
    long long base_bytes = 0;
    std::unordered_map<long long, History> histories;
    long long wrong = 0, faults[4] = {};
    bool reported = false;
    long long moved = 0;
};

}  // namespace

extern "C" {

void* memory_traffic_new(const char* text, const char* image, const char* answer) {
    return new Traffic(text, image, answer);
}

void memory_traffic_step(void* traffic, long long cycle, int requester, int read_taken,
                         int write_taken, int written, int answered, int fault,
                         const svBitVecVal* data, int* read_valid, long long* read_index,
                         int* write_valid, long long* write_index, svBitVecVal* write_data,
                         long long* write_strobe, int* data_ready) {
    Traffic& all = *static_cast<Traffic*>(traffic);
    Requester& one = all.requesters[requester];
    all.step(cycle, one, read_taken, write_taken, written, answered, fault,
             reinterpret_cast<const unsigned char*>(data));
    *read_valid = one.read_valid;
    *read_index = one.read_index;
    *write_valid = one.write_valid;
    *write_index = one.write_index;
    std::memcpy(write_data, one.write.data, 64);
    *write_strobe = static_cast<long long>(one.write.strobe);
    *data_ready = one.data_ready;
}

int memory_traffic_finished(void* traffic, long long cycle, int corrected) {
    static_cast<Traffic*>(traffic)->corrected += corrected;
    return static_cast<Traffic*>(traffic)->finished(cycle);
}

}
