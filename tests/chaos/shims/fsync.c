/* Makes fsync and fdatasync take longer, by as many nanoseconds as the file TASKQ_SHIM_FSYNC holds, live: a slow disk.
   Behind them the file is told how many bytes of an append-only file are on it: what a power cut would leave. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BILLION 1000000000LL

static volatile int64_t *shared; /* the delay, the bytes that are safe */

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("TASKQ_SHIM_FSYNC");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *page = mmap(NULL, 2 * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED)
        shared = page;
}

/* How many bytes an append-only file has; -1 for any other file. */
static int64_t appended(int fd)
{
    char name[32], path[4096];
    struct stat found;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0)
        return -1;
    path[length] = 0;
    return strstr(path, ".incr.aof") && !fstat(fd, &found) ? found.st_size : -1;
}

static int slowly(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int64_t size = shared ? appended(fd) : -1;
    if (shared && shared[0] > 0) {
        struct timespec pause = {shared[0] / BILLION, shared[0] % BILLION};
        nanosleep(&pause, NULL);
    }
    int failed = real(fd);
    if (!failed && size >= 0)
        shared[1] = size;
    return failed;
}

int fsync(int fd) { return slowly("fsync", fd); }

int fdatasync(int fd) { return slowly("fdatasync", fd); }
