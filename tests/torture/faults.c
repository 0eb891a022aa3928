/* Preloaded into a process, counts what it changes below a folder, and lets one of these operations fail or be the last:
 * FAULT_UNDER the folder, FAULT_AT which operation, from 1,
 * FAULT_KIND full or broken (it fails), partial (half is written), killed (before it), torn (when half is written).
 * The operations are appended to FAULT_LOG, one a line. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int seen = 0;

static int is(const char *kind) {
    const char *given = getenv("FAULT_KIND");
    return given && strcmp(given, kind) == 0;
}

static int below(const char *path) {
    const char *folder = getenv("FAULT_UNDER");
    char whole[8192], *here;
    if (!folder) return 0;
    if (path[0] != '/' && (here = getcwd(NULL, 0))) {
        snprintf(whole, sizeof whole, "%s/%s", here, path);
        free(here);
        path = whole;
    }
    return strncmp(path, folder, strlen(folder)) == 0;
}

static int file_below(int file, char *path, size_t size) {
    char link[64];
    if (!getenv("FAULT_UNDER")) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

/* Counts an operation; tells whether it is the one, unless the process ends here. */
static int now(const char *name, const char *path) {
    const char *at = getenv("FAULT_AT"), *log = getenv("FAULT_LOG");
    ++seen;
    if (log) {
        char line[5000];
        int size = snprintf(line, sizeof line, "%s %s\n", name, path);
        int file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0666);
        syscall(SYS_write, file, line, size);
        syscall(SYS_close, file);
    }
    if (!at || seen != atoi(at)) return 0;
    if (is("killed")) kill(getpid(), SIGKILL);
    return 1;
}

static int fail(void) {
    errno = is("broken") ? EIO : ENOSPC;
    return -1;
}

ssize_t write(int file, const void *data, size_t size) {
    char path[4096];
    if (!file_below(file, path, sizeof path) || !now("write", path)) return NEXT(write)(file, data, size);
    if (is("torn")) {
        NEXT(write)(file, data, size / 2);
        kill(getpid(), SIGKILL);
    }
    return is("partial") && size > 1 ? NEXT(write)(file, data, size / 2) : fail();
}

int fsync(int file) {
    char path[4096];
    return file_below(file, path, sizeof path) && now("fsync", path) ? fail() : NEXT(fsync)(file);
}

int ftruncate64(int file, off64_t size) {
    char path[4096];
    return file_below(file, path, sizeof path) && now("ftruncate", path) ? fail() : NEXT(ftruncate64)(file, size);
}

int rename(const char *from, const char *to) {
    return below(to) && now("rename", to) ? fail() : NEXT(rename)(from, to);
}

int unlink(const char *path) {
    return below(path) && now("unlink", path) ? fail() : NEXT(unlink)(path);
}

int mkdir(const char *path, mode_t mode) {
    return below(path) && now("mkdir", path) ? fail() : NEXT(mkdir)(path, mode);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    int changes = flags & (O_CREAT | O_TRUNC);
    return changes && below(path) && now("open", path) ? fail() : NEXT(open64)(path, flags, mode);
}
