/* Makes a file system refuse what network file systems refuse. REFUSE names it: flock-ENOLCK, flock-ENOTSUP,
   fcntl-ENOLCK, shm-mmap, shm-open. MOUNTS is a file read instead of /proc/self/mounts. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int refused(const char *what) {
    const char *refuse = getenv("REFUSE");
    return refuse && strcmp(refuse, what) == 0;
}

static int ends(const char *path, const char *with) {
    size_t a = strlen(path), b = strlen(with);
    return a >= b && strcmp(path + a - b, with) == 0;
}

static const char *instead(const char *path) {
    const char *mounts = getenv("MOUNTS");
    return mounts && strcmp(path, "/proc/self/mounts") == 0 ? mounts : path;
}

int flock(int descriptor, int operation) {
    static int (*real)(int, int);
    if (refused("flock-ENOLCK")) { errno = ENOLCK; return -1; }
    if (refused("flock-ENOTSUP")) { errno = ENOTSUP; return -1; }
    if (!real) real = dlsym(RTLD_NEXT, "flock");
    return real(descriptor, operation);
}

#define LOCKS(name)                                                                                        \
    int name(int descriptor, int command, ...) {                                                           \
        static int (*real)(int, int, ...);                                                                 \
        va_list rest;                                                                                      \
        va_start(rest, command);                                                                           \
        void *argument = va_arg(rest, void *);                                                             \
        va_end(rest);                                                                                      \
        if ((command == F_SETLK || command == F_SETLKW) && refused("fcntl-ENOLCK")) {                      \
            errno = ENOLCK;                                                                                \
            return -1;                                                                                     \
        }                                                                                                  \
        if (!real) real = dlsym(RTLD_NEXT, #name);                                                         \
        return real(descriptor, command, argument);                                                        \
    }
LOCKS(fcntl)
LOCKS(fcntl64)

#define OPENS(name)                                                                                        \
    int name(const char *path, int flags, ...) {                                                           \
        static int (*real)(const char *, int, ...);                                                        \
        va_list rest;                                                                                      \
        va_start(rest, flags);                                                                             \
        int mode = va_arg(rest, int);                                                                      \
        va_end(rest);                                                                                      \
        if (ends(path, "-shm") && refused("shm-open")) { errno = EACCES; return -1; }                      \
        if (!real) real = dlsym(RTLD_NEXT, #name);                                                         \
        return real(instead(path), flags, mode);                                                           \
    }
OPENS(open)
OPENS(open64)

#define MAPS(name, offset_t)                                                                               \
    void *name(void *address, size_t size, int protection, int flags, int descriptor, offset_t offset) {   \
        static void *(*real)(void *, size_t, int, int, int, offset_t);                                     \
        if (descriptor >= 0 && (flags & MAP_SHARED) && refused("shm-mmap")) {                              \
            char link[64], path[4096];                                                                     \
            snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);                                   \
            ssize_t length = readlink(link, path, sizeof path - 1);                                        \
            if (length > 0 && (path[length] = 0, ends(path, "-shm"))) { errno = ENODEV; return MAP_FAILED; } \
        }                                                                                                  \
        if (!real) real = dlsym(RTLD_NEXT, #name);                                                         \
        return real(address, size, protection, flags, descriptor, offset);                                 \
    }
MAPS(mmap, off_t)
MAPS(mmap64, off64_t)
