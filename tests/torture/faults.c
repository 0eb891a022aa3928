/* Preloaded into a process, lets one write, sync or rename below a folder fail:
 * FAULT_UNDER the folder, FAULT_AT which call, from 1, FAULT_KIND full, broken or partial.
 * Without FAULT_AT it counts the calls into FAULT_COUNT. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int seen = 0;

static int below(const char *path) {
    const char *folder = getenv("FAULT_UNDER");
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static int file_below(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static int now(void) {
    const char *at = getenv("FAULT_AT");
    ++seen;
    return at && seen == atoi(at);
}

static int fail(void) {
    const char *kind = getenv("FAULT_KIND");
    errno = kind && strcmp(kind, "broken") == 0 ? EIO : ENOSPC;
    return -1;
}

__attribute__((destructor)) static void count(void) {
    const char *path = getenv("FAULT_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) fprintf(file, "%d", seen), fclose(file);
}

ssize_t write(int file, const void *data, size_t size) {
    ssize_t (*next)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (!file_below(file) || !now()) return next(file, data, size);
    const char *kind = getenv("FAULT_KIND");
    return kind && strcmp(kind, "partial") == 0 && size > 1 ? next(file, data, size / 2) : fail();
}

int fsync(int file) {
    int (*next)(int) = dlsym(RTLD_NEXT, "fsync");
    return file_below(file) && now() ? fail() : next(file);
}

int rename(const char *from, const char *to) {
    int (*next)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    return below(to) && now() ? fail() : next(from, to);
}
