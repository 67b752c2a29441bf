// Checks every DRAM command against the rules of one grade; see tb/dram_checker.py.
//
// The rules and all numbers are handed over as text (dram_checker_new, dram_checker_open), so that
// a simulation and Python use the same table: no timing stands here.
//
// A timing rule compares a command with the last earlier one that the rule is about (or the fourth
// last, for a window of four). Of several rules between the same two commands, the one with the
// most missing cycles is reported, at a tie the first of the table. A command that breaks a rule
// still takes effect; one whose address does not exist is dropped.
#include <algorithm>
#include <climits>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

enum Command { ACT, PRE, PREA, RD, RDA, WR, WRA, REFAB, REFPB, COMMANDS };
const char* const COMMAND_NAMES[] = {"ACT", "PRE", "PREA", "RD", "RDA", "WR", "WRA", "REFab",
                                     "REFpb"};
enum Scope { BANK, OTHER_BANK, GROUP, OTHER_GROUP, OTHER_STACK, ALL, SCOPES };

// Rules of state; they follow the timing rules in numbering.
enum State { BANK_OPEN, BANK_CLOSED, WRONG_ROW, ADDRESS, OVERDUE, STATES };
const char* const STATE_NAMES[] = {"bank open", "bank closed", "wrong row", "address",
                                   "refresh overdue"};

const size_t KEPT_MAX = 1000;  // Violations kept with their text; all are counted.

struct Event {
    long long ck = 0, order = 0;  // order 0: there was none.
    int command = -1, bank = -1;
};

struct Rule {
    std::string name;
    std::vector<int> earlier;
    unsigned later, scopes;
    long long cycles;
    int window;
};

struct Violation {
    std::string rule, text;
    Event earlier, later;
    long long required, missing;
};

struct Candidate {
    const Rule* rule;
    Event earlier;
    long long missing;
};

class Checker {
public:
    explicit Checker(const std::string& text) {
        std::istringstream lines(text);
        std::string line;
        while (std::getline(lines, line)) {
            std::istringstream words(line);
            std::string kind;
            if (!(words >> kind)) continue;
            if (kind == "organisation") {
                words >> stacks >> groups >> banks_per_group >> rows >> columns;
            } else if (kind == "refresh") {
                words >> interval >> postponed_max;
            } else if (kind == "command") {
                int number = -1;
                std::string name;
                words >> number >> name;
                if (number < 0 || number >= COMMANDS || name != COMMAND_NAMES[number])
                    throw std::runtime_error("commands are numbered differently: " + line);
            } else if (kind == "rule") {
                Rule rule;
                unsigned earlier = 0;
                words >> earlier >> rule.later >> rule.scopes >> rule.cycles >> rule.window;
                std::getline(words >> std::ws, rule.name);
                for (int command = 0; command < COMMANDS; ++command)
                    if (earlier >> command & 1) rule.earlier.push_back(command);
                if (rule.window < 1 || rule.window > 4 ||
                    (rule.window > 1 && rule.scopes != 1u << ALL))
                    throw std::runtime_error("a window is 1 to 4 commands of the whole "
                                             "pseudo-channel: " + line);
                rules.push_back(rule);
            } else {
                throw std::runtime_error("unknown line: " + line);
            }
            if (!words && !words.eof()) throw std::runtime_error("bad line: " + line);
        }
        banks = stacks * groups * banks_per_group;
        if (banks <= 0 || rows <= 0 || columns <= 0 || interval <= 0)
            throw std::runtime_error("organisation or refresh is missing");
        for (const Rule& rule : rules)
            for (int later = 0; later < COMMANDS; ++later)
                if (rule.later >> later & 1) rules_of[later].push_back(&rule);
        for (int command = 0; command < COMMANDS; ++command) {
            by_bank[command].resize(banks);
            by_group[command].resize(stacks * groups);
            by_stack[command].resize(stacks);
        }
        open_row.assign(banks, -1);
        changed.resize(banks);
        refreshed.resize(banks);
        refreshes.assign(banks, 0);
        reported.assign(banks, false);
        find_deadline();
    }

    // Returns the number of violations, or -1 when time runs backwards.
    int command(long long ck, int command, int stack, int group, int bank, int row, int column) {
        if (ck < now) {
            problem = "commands must come in the order of their cycles: ck " + std::to_string(ck) +
                      " after ck " + std::to_string(now);
            return -1;
        }
        now = ck;
        long long before = total;
        const bool whole = command == PREA || command == REFAB;
        Event event;
        event.ck = ck;
        event.command = command;
        if (command < 0 || command >= COMMANDS) {
            add_state(ADDRESS, Event(), event, "there is no such command");
            return 1;
        }
        if (!whole) {
            if (!inside(stack, stacks) || !inside(group, groups) || !inside(bank, banks_per_group)) {
                add_state(ADDRESS, Event(), event,
                          "there is no stack ID " + std::to_string(stack) + ", bank group " +
                          std::to_string(group) + ", bank " + std::to_string(bank));
                return 1;
            }
            event.bank = (stack * groups + group) * banks_per_group + bank;
            if (command == ACT ? !inside(row, rows) : is_column(command) && row >= rows) {
                add_state(ADDRESS, Event(), event, "there is no row " + std::to_string(row));
                return 1;
            }
            if (is_column(command) && !inside(column, columns)) {
                add_state(ADDRESS, Event(), event, "there is no column " + std::to_string(column));
                return 1;
            }
        }
        event.order = ++order;
        check_overdue(event);
        check_state(event, row);
        check_timing(event);
        apply(event, row);
        return static_cast<int>(total - before);
    }

    int finish(long long ck) {
        if (ck < now) {
            problem = "the end, ck " + std::to_string(ck) + ", lies before the last command, ck " +
                      std::to_string(now);
            return -1;
        }
        long long before = total;
        now = ck;
        Event event;
        event.ck = ck;
        check_overdue(event);
        return static_cast<int>(total - before);
    }

    std::vector<Violation> kept;
    long long total = 0;
    std::string problem;

private:
    static bool inside(int value, int size) { return value >= 0 && value < size; }
    static bool is_column(int command) { return command >= RD && command <= WRA; }

    std::string place(const Event& event) const {
        if (event.command < 0) return "the end";
        if (event.command >= COMMANDS) return "command " + std::to_string(event.command);
        std::string text = COMMAND_NAMES[event.command];
        if (event.bank < 0) return text;
        int group = event.bank / banks_per_group;
        return text + " to stack ID " + std::to_string(group / groups) + ", bank group " +
               std::to_string(group % groups) + ", bank " +
               std::to_string(event.bank % banks_per_group);
    }

    void add(const std::string& rule, const Event& earlier, const Event& later, long long required,
             long long missing, const std::string& why) {
        ++total;
        if (kept.size() >= KEPT_MAX) return;
        std::string text = rule + " violated: " + place(later) + " at ck " +
                           std::to_string(later.ck) + ": " + why;
        kept.push_back({rule, text, earlier, later, required, missing});
    }

    void add_state(State rule, const Event& earlier, const Event& later, const std::string& why) {
        add(STATE_NAMES[rule], earlier, later, 0, 0, why);
    }

    static std::string cycles(long long number) {
        return std::to_string(number) + (number == 1 ? " cycle" : " cycles");
    }

    std::string since(const Event& event) const {
        return place(event) + " at ck " + std::to_string(event.ck);
    }

    void check_state(const Event& event, int row) {
        if (event.command == ACT || event.command == REFPB) {
            if (open_row[event.bank] >= 0)
                add_state(BANK_OPEN, changed[event.bank], event,
                          "the bank is open since " + since(changed[event.bank]));
        } else if (event.command == REFAB) {
            for (int bank = 0; bank < banks; ++bank)
                if (open_row[bank] >= 0) {
                    add_state(BANK_OPEN, changed[bank], event,
                              "a bank is open since " + since(changed[bank]));
                    break;
                }
        } else if (is_column(event.command)) {
            const Event& last = changed[event.bank];
            if (open_row[event.bank] < 0)
                add_state(BANK_CLOSED, last, event,
                          last.order ? "the bank is closed since " + since(last)
                                     : "the bank was never opened");
            else if (row >= 0 && row != open_row[event.bank])
                add_state(WRONG_ROW, last, event,
                          "row " + std::to_string(row) + " is meant, but row " +
                          std::to_string(open_row[event.bank]) + " is open since " + since(last));
        }
    }

    // Whether any earlier command that the rule is about, in whatever scope, is near enough.
    bool may_break(const Rule& rule, long long ck) const {
        for (int command : rule.earlier) {
            const Event& last = history[command][rule.window - 1];
            if (last.order && ck - last.ck < rule.cycles) return true;
        }
        return false;
    }

    const Event& last_of(const Rule& rule, const Event& event) const {
        const Event* newest = &none;
        auto take = [&newest](const Event& found) {
            if (found.order > newest->order) newest = &found;
        };
        const int bank = event.bank;
        const int group = bank / banks_per_group, stack = group / groups;
        for (int command : rule.earlier) {
            if (rule.scopes >> ALL & 1) take(history[command][rule.window - 1]);
            if (bank < 0) continue;
            if (rule.scopes >> BANK & 1) take(by_bank[command][bank]);
            if (rule.scopes >> OTHER_BANK & 1)
                for (int other = 0; other < banks; ++other)
                    if (other != bank) take(by_bank[command][other]);
            if (rule.scopes >> GROUP & 1) take(by_group[command][group]);
            if (rule.scopes >> OTHER_GROUP & 1)
                for (int other = stack * groups; other < (stack + 1) * groups; ++other)
                    if (other != group) take(by_group[command][other]);
            if (rule.scopes >> OTHER_STACK & 1)
                for (int other = 0; other < stacks; ++other)
                    if (other != stack) take(by_stack[command][other]);
        }
        return *newest;
    }

    void check_timing(const Event& event) {
        found.clear();
        for (const Rule* rule : rules_of[event.command]) {
            if (!may_break(*rule, event.ck)) continue;
            const Event& last = last_of(*rule, event);
            if (!last.order) continue;
            long long missing = last.ck + rule->cycles - event.ck;
            if (missing <= 0) continue;
            auto same = std::find_if(found.begin(), found.end(), [&last](const Candidate& other) {
                return other.earlier.order == last.order;
            });
            if (same == found.end())
                found.push_back({rule, last, missing});
            else if (missing > same->missing)
                *same = {rule, last, missing};
        }
        for (const Candidate& one : found)
            add(one.rule->name, one.earlier, event, one.rule->cycles, one.missing,
                cycles(event.ck - one.earlier.ck) + " after " + since(one.earlier) +
                ", " + std::to_string(one.rule->cycles) + " needed, " +
                std::to_string(one.missing) + " missing");
    }

    void apply(const Event& event, int row) {
        Event* last = history[event.command];
        for (int place = 3; place > 0; --place) last[place] = last[place - 1];
        last[0] = event;
        if (event.bank >= 0) {
            const int group = event.bank / banks_per_group;
            by_bank[event.command][event.bank] = event;
            by_group[event.command][group] = event;
            by_stack[event.command][group / groups] = event;
        }
        switch (event.command) {
        case ACT:
            open_row[event.bank] = row;
            changed[event.bank] = event;
            break;
        case PRE: case RDA: case WRA:
            close(event.bank, event);
            break;
        case PREA:
            for (int bank = 0; bank < banks; ++bank) close(bank, event);
            break;
        case REFPB:
            refresh(event.bank, event);
            find_deadline();
            break;
        case REFAB:
            for (int bank = 0; bank < banks; ++bank) refresh(bank, event);
            find_deadline();
            break;
        default:
            break;
        }
    }

    void close(int bank, const Event& event) {
        if (open_row[bank] < 0) return;
        open_row[bank] = -1;
        changed[bank] = event;
    }

    void refresh(int bank, const Event& event) {
        close(bank, event);
        // Refreshes ahead of time count up to the limit of those behind it.
        refreshes[bank] = std::min(refreshes[bank] + 1, event.ck / interval + postponed_max);
        refreshed[bank] = event;
        reported[bank] = false;
    }

    long long deadline_of(int bank) const {
        return (refreshes[bank] + postponed_max + 1) * interval;
    }

    void find_deadline() {
        deadline = LLONG_MAX;
        for (int bank = 0; bank < banks; ++bank)
            if (!reported[bank]) deadline = std::min(deadline, deadline_of(bank));
    }

    // One report for all banks that are overdue, of the one that waits longest.
    void check_overdue(const Event& event) {
        if (event.ck <= deadline) return;
        int worst = -1, number = 0;
        for (int bank = 0; bank < banks; ++bank) {
            if (reported[bank] || event.ck <= deadline_of(bank)) continue;
            if (worst < 0 || deadline_of(bank) < deadline_of(worst)) worst = bank;
            reported[bank] = true;
            ++number;
        }
        const Event& last = refreshed[worst];
        Event where = event;
        where.command = REFPB;
        where.bank = worst;
        std::string place_text = place(where);
        add(STATE_NAMES[OVERDUE], last, event, deadline_of(worst), event.ck - deadline_of(worst),
            "the refresh of" + place_text.substr(place_text.find(" to ") + 3) +
            (number > 1 ? " (and of " + std::to_string(number - 1) + " more)" : "") +
            " was due by ck " + std::to_string(deadline_of(worst)) + ", " +
            cycles(event.ck - deadline_of(worst)) + " ago; the last one was " +
            (last.order ? since(last) : "never"));
        find_deadline();
    }

    int stacks = 0, groups = 0, banks_per_group = 0, rows = 0, columns = 0, banks = 0;
    long long interval = 0, postponed_max = 0;
    std::vector<Rule> rules;
    std::vector<const Rule*> rules_of[COMMANDS];
    std::vector<Candidate> found;

    long long now = 0, order = 0, deadline = 0;
    const Event none;
    Event history[COMMANDS][4];
    std::vector<Event> by_bank[COMMANDS], by_group[COMMANDS], by_stack[COMMANDS];
    std::vector<int> open_row;
    std::vector<Event> changed, refreshed;  // By bank: last opened or closed; last refreshed.
    std::vector<long long> refreshes;
    std::vector<bool> reported;
};

std::string creation_problem;

}  // namespace

// The same functions serve Python's ctypes and SystemVerilog's DPI-C (chandle, string, longint).
extern "C" {

// Make a checker from its rules as text; null when they cannot be read, see dram_checker_problem.
void* dram_checker_new(const char* text) {
    try {
        return new Checker(text);
    } catch (const std::exception& error) {
        creation_problem = error.what();
        return nullptr;
    }
}

void* dram_checker_open(const char* path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    if (!file) {
        creation_problem = std::string("cannot read ") + path;
        return nullptr;
    }
    return dram_checker_new(text.str().c_str());
}

void dram_checker_free(void* checker) { delete static_cast<Checker*>(checker); }

// Returns the number of rules that the command breaks; -1 when it comes before an earlier one.
int dram_checker_command(void* checker, long long ck, int command, int stack_id, int bank_group,
                         int bank, int row, int column) {
    return static_cast<Checker*>(checker)->command(ck, command, stack_id, bank_group, bank, row,
                                                   column);
}

// Commands in rows of seven: ck, command, stack ID, bank group, bank, row, column. Returns how
// many rows were taken: fewer than given when one comes before an earlier one.
long long dram_checker_commands(void* checker, const long long* table, long long number) {
    for (long long index = 0; index < number; ++index) {
        const long long* c = table + 7 * index;
        if (static_cast<Checker*>(checker)->command(c[0], c[1], c[2], c[3], c[4], c[5], c[6]) < 0)
            return index;
    }
    return number;
}

// Say that time has come to ck; returns the number of rules broken (refresh overdue), or -1.
int dram_checker_finish(void* checker, long long ck) {
    return static_cast<Checker*>(checker)->finish(ck);
}

long long dram_checker_total(void* checker) { return static_cast<Checker*>(checker)->total; }

int dram_checker_kept(void* checker) {
    return static_cast<int>(static_cast<Checker*>(checker)->kept.size());
}

const char* dram_checker_rule(void* checker, int index) {
    return static_cast<Checker*>(checker)->kept.at(index).rule.c_str();
}

const char* dram_checker_text(void* checker, int index) {
    return static_cast<Checker*>(checker)->kept.at(index).text.c_str();
}

// ck, command and bank of the earlier and the later command (-1 for none), required, missing.
void dram_checker_numbers(void* checker, int index, long long* numbers) {
    const Violation& one = static_cast<Checker*>(checker)->kept.at(index);
    const bool some = one.earlier.order != 0;
    const long long values[] = {some ? one.earlier.ck : -1, some ? one.earlier.command : -1,
                                some ? one.earlier.bank : -1, one.later.ck, one.later.command,
                                one.later.bank, one.required, one.missing};
    std::copy(std::begin(values), std::end(values), numbers);
}

const char* dram_checker_problem(void* checker) {
    return checker ? static_cast<Checker*>(checker)->problem.c_str() : creation_problem.c_str();
}

}
