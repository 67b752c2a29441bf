// The pseudo-terminal of tb/serial_line.sv.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <termios.h>
#include <unistd.h>

// Cycles without a byte after which the simulation lets the host have the processor.
static const int QUIET_CYCLES = 2048;

static int terminal = -1;
static std::string name_file;
static pid_t parent;
static int quiet;
static bool finished;
static unsigned char received[4096];
static int received_bytes, received_taken;

static void fail(const char* what) {
    std::perror(what);
    std::exit(1);
}

extern "C" void line_open(const char* path) {
    terminal = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) fail("posix_openpt");
    struct termios mode;
    if (tcgetattr(terminal, &mode) != 0) fail("tcgetattr");
    cfmakeraw(&mode);
    if (tcsetattr(terminal, TCSANOW, &mode) != 0) fail("tcsetattr");
    parent = getppid();
    name_file = path;
    // Whole under its name, or not at all: somebody waits for it.
    std::string partial = name_file + ".partial";
    FILE* file = std::fopen(partial.c_str(), "w");
    if (file == nullptr || std::fputs(ptsname(terminal), file) < 0 || std::fclose(file) != 0
        || std::rename(partial.c_str(), path) != 0)
        fail(path);
}

extern "C" int line_receive() {
    if (received_taken == received_bytes) {
        // EIO: nobody has the other side open.
        ssize_t count = read(terminal, received, sizeof received);
        if (count < 0 && errno != EAGAIN && errno != EIO && errno != EINTR) fail("read");
        received_bytes = count > 0 ? static_cast<int>(count) : 0;
        received_taken = 0;
    }
    if (received_bytes == 0) {
        if (++quiet < QUIET_CYCLES) return -1;
        quiet = 0;
        finished = access(name_file.c_str(), F_OK) != 0 || getppid() != parent;
        struct pollfd wanted = {terminal, POLLIN, 0};
        // With nobody at the other side poll returns at once.
        if (!finished && poll(&wanted, 1, 1) > 0 && !(wanted.revents & POLLIN)) usleep(1000);
        return -1;
    }
    quiet = 0;
    return received[received_taken++];
}

extern "C" void line_send(int value) {
    unsigned char byte = static_cast<unsigned char>(value);
    quiet = 0;
    // A host that does not read loses bytes, as on a real line.
    if (write(terminal, &byte, 1) < 0 && errno != EAGAIN && errno != EIO) fail("write");
}

extern "C" int line_finished() { return finished; }
