/* Preloaded into a server, it makes the disk slow: each sync takes as many milliseconds longer as the file
   that SLOW_DISK names says at that moment. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void take_time(void) {
    const char *path = getenv("SLOW_DISK");
    char text[32] = {0};
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    if (read(file, text, sizeof text - 1) > 0) {
        long millis = atol(text);
        struct timespec left = {millis / 1000, millis % 1000 * 1000000};
        while (nanosleep(&left, &left) != 0) {
        }
    }
    close(file);
}

int fsync(int file) {
    take_time();
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    take_time();
    return (int)syscall(SYS_fdatasync, file);
}
