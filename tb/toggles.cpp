// Toggles in a VCD file: how often every bit rises and falls within a span of time, and when a
// stream's items are taken. A variable is known by its code, read as a number in base 94.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace {

struct Reader {
    FILE *file;
    std::vector<char> buffer;
    size_t begin = 0, end = 0;

    explicit Reader(const char *path) : file(fopen(path, "rb")), buffer(1 << 22) {}
    ~Reader() {
        if (file) fclose(file);
    }
    // The next line without its end; false at the end of the file.
    bool line(char *&text) {
        for (;;) {
            char *found = static_cast<char *>(memchr(&buffer[begin], '\n', end - begin));
            if (found) {
                *found = 0;
                text = &buffer[begin];
                begin = found - &buffer[0] + 1;
                return true;
            }
            memmove(&buffer[0], &buffer[begin], end - begin);
            end -= begin;
            begin = 0;
            if (end == buffer.size()) buffer.resize(2 * buffer.size());
            size_t got = fread(&buffer[end], 1, buffer.size() - end, file);
            if (got == 0) return false;
            end += got;
        }
    }
};

uint64_t number(const char *code) {
    uint64_t value = 0, place = 1;
    for (; *code > 32; ++code, place *= 94) value += place * (*code - 32);
    return value;
}

// Calls change(code, bits) for every change and step(time) before those of a new time.
template <class Change, class Step> int read(const char *path, Change change, Step step) {
    Reader reader(path);
    if (!reader.file) return -1;
    char *text;
    bool header = true;
    while (reader.line(text)) {
        if (header) {
            header = strncmp(text, "$enddefinitions", 15) != 0;
        } else if (*text == '#') {
            step(strtoull(text + 1, nullptr, 10));
        } else if (*text == '0' || *text == '1') {
            char bit[2] = {*text, 0};
            change(number(text + 1), bit);
        } else if (*text == 'b') {
            char *space = strchr(text, ' ');
            *space = 0;
            change(number(space + 1), text + 1);
        }
    }
    return 0;
}

}  // namespace

extern "C" {

// first[code]: where the counts of a variable's bits begin, the last bit of its text first; -1:
// not counted. Time counts from begin on, until before end.
int toggles_count(const char *path, uint64_t begin, uint64_t end, uint64_t codes,
                  const int64_t *first, uint64_t bits, uint64_t *rises, uint64_t *falls) {
    std::vector<char> now(bits, 'x');
    bool counting = false;
    return read(
        path,
        [&](uint64_t code, const char *value) {
            if (code >= codes || first[code] < 0) return;
            size_t width = strlen(value);
            for (size_t place = 0; place < width; ++place) {
                size_t bit = first[code] + place;
                if (bit >= bits) return;
                char next = value[width - 1 - place];
                if (counting && now[bit] == '0' && next == '1') ++rises[bit];
                if (counting && now[bit] == '1' && next == '0') ++falls[bit];
                now[bit] = next;
            }
        },
        [&](uint64_t time) { counting = time >= begin && time < end; });
}

// The times of rising edges of a clock at which valid and ready were both 1; their number.
int64_t toggles_transfers(const char *path, uint64_t clock, uint64_t valid, uint64_t ready,
                          uint64_t room, uint64_t *times) {
    bool is_valid = false, is_ready = false, before = false, high = false, rose = false;
    uint64_t now = 0;
    int64_t found = 0;
    auto close = [&] {
        if (rose && before && static_cast<uint64_t>(found) < room) times[found++] = now;
        rose = false;
        before = is_valid && is_ready;
    };
    int failed = read(
        path,
        [&](uint64_t code, const char *value) {
            bool one = *value == '1';
            if (code == valid) is_valid = one;
            if (code == ready) is_ready = one;
            if (code == clock) {
                rose = one && !high;
                high = one;
            }
        },
        [&](uint64_t time) {
            close();
            now = time;
        });
    close();
    return failed ? -1 : found;
}
}
