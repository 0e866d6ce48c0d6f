/* Preloaded into a server, it makes the disk slow: each sync takes as many milliseconds longer as the file
   that SLOW_DISK names says. It is looked at all the while, so that a sync can be let go. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long millis_wanted(void) {
    const char *path = getenv("SLOW_DISK");
    char text[32] = {0};
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return 0;
    if (read(file, text, sizeof text - 1) < 0)
        text[0] = 0;
    close(file);
    return atol(text);
}

static long millis_since(const struct timespec *begin) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - begin->tv_sec) * 1000 + (now.tv_nsec - begin->tv_nsec) / 1000000;
}

static void take_time(void) {
    const struct timespec step = {0, 5000000};
    struct timespec begin;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    while (millis_since(&begin) < millis_wanted())
        nanosleep(&step, 0);
}

int fsync(int file) {
    take_time();
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    take_time();
    return (int)syscall(SYS_fdatasync, file);
}
