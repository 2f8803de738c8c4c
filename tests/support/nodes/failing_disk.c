/* Preloaded into a process: calls on files below one directory fail with EIO, as a disk that gives
 * up answers them. FAILING_BELOW is the directory, FAILING_CALLS some of open, pread, write, fsync.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(const char *call, const char *path) {
    const char *below = getenv("FAILING_BELOW"), *calls = getenv("FAILING_CALLS");
    return below && calls && strstr(calls, call) && !strncmp(path, below, strlen(below));
}

static int fails_at(const char *call, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(call, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pread64(int fd, void *to, size_t size, off64_t at) {
    if (fails_at("pread", fd)) return errno = EIO, -1;
    return REAL(pread64)(fd, to, size, at);
}

ssize_t pread(int fd, void *to, size_t size, off_t at) {
    if (fails_at("pread", fd)) return errno = EIO, -1;
    return REAL(pread)(fd, to, size, at);
}

ssize_t write(int fd, const void *from, size_t size) {
    if (fails_at("write", fd)) return errno = EIO, -1;
    return REAL(write)(fd, from, size);
}

int fsync(int fd) {
    if (fails_at("fsync", fd)) return errno = EIO, -1;
    return REAL(fsync)(fd);
}

static int opened(const char *path, int flags, mode_t mode) {
    if (fails("open", path)) return errno = EIO, -1;
    return openat(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opened(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opened(path, flags, mode);
}
