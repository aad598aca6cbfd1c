/* Makes fsync and fdatasync take longer, by as many nanoseconds as the file TASKQ_SHIM_FSYNC holds, live: a slow disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BILLION 1000000000LL

static const volatile int64_t *delay;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("TASKQ_SHIM_FSYNC");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED)
        delay = page;
}

static int slowly(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (delay && *delay > 0) {
        struct timespec pause = {*delay / BILLION, *delay % BILLION};
        nanosleep(&pause, NULL);
    }
    return real(fd);
}

int fsync(int fd) { return slowly("fsync", fd); }

int fdatasync(int fd) { return slowly("fdatasync", fd); }
