// The bytes of tb/axi4_memory.sv: a file, mapped.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "svdpi.h"

static unsigned char* memory;
static long long memory_bytes;

extern "C" void memory_open(const char* path) {
    int file = open(path, O_RDWR);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0) {
        std::perror(path);
        std::exit(1);
    }
    memory_bytes = status.st_size;
    void* mapped = mmap(nullptr, memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) {
        std::perror(path);
        std::exit(1);
    }
    memory = static_cast<unsigned char*>(mapped);
    close(file);
}

static bool inside(long long index, int bytes) {
    return index >= 0 && index < memory_bytes / bytes;
}

extern "C" int memory_read(long long index, int bytes, svBitVecVal* data) {
    std::memset(data, 0, 64);
    if (!inside(index, bytes)) return 0;
    std::memcpy(data, memory + index * bytes, bytes);
    return 1;
}

extern "C" int memory_write(long long index, int bytes, const svBitVecVal* data) {
    if (!inside(index, bytes)) return 0;
    std::memcpy(memory + index * bytes, data, bytes);
    return 1;
}
