/* A library to preload: it reports the file calls of the main thread to the Python code of that process.
 *
 * An audit hook of Python does not see close, fsync, write or stat, nor what a library in C does. This sees
 * every call that goes through the C library. Sockets, pipes and memory files are left out.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

typedef void report_call(const char *name, const char *path);

static report_call *volatile report;
static pid_t process;
static int is_inside;
static int (*take_gil)(void);
static void (*give_gil)(int);
static void (*take_error)(void **, void **, void **);
static void (*give_error)(void *, void *, void *);

/* Report from now on; a null pointer ends it. Called by the main thread. */
void report_file_calls(report_call *to) {
    process = getpid();
    take_gil = dlsym(RTLD_DEFAULT, "PyGILState_Ensure");
    give_gil = dlsym(RTLD_DEFAULT, "PyGILState_Release");
    take_error = dlsym(RTLD_DEFAULT, "PyErr_Fetch");
    give_error = dlsym(RTLD_DEFAULT, "PyErr_Restore");
    report = to;
}

/* A child that shares our memory until it becomes another program has an id of its own. */
static int is_watched(void) {
    return report && !is_inside && syscall(SYS_gettid) == process && syscall(SYS_getpid) == process;
}

static void tell(const char *name, const char *path) {
    int saved = errno;
    is_inside = 1;
    int gil = take_gil();
    void *type, *value, *trace;
    take_error(&type, &value, &trace);
    report(name, path);
    give_error(type, value, trace);
    give_gil(gil);
    is_inside = 0;
    errno = saved;
}

static int descriptor_path(int descriptor, char *path) {
    char name[64];
    int saved = errno;
    snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    ssize_t count = syscall(SYS_readlink, name, path, PATH_MAX - 1);
    errno = saved;
    path[count < 0 ? 0 : count] = 0;
    return count > 0;
}

static void tell_path(const char *name, int directory, const char *path) {
    if (!is_watched() || !path) return;
    char full[2 * PATH_MAX] = "";
    if (path[0] != '/') {
        int saved = errno;
        if (directory != AT_FDCWD) descriptor_path(directory, full);
        else if (syscall(SYS_getcwd, full, PATH_MAX) < 0) full[0] = 0;
        strcat(full, "/");
        errno = saved;
    }
    strncat(full, path, PATH_MAX);
    tell(name, full);
}

static void tell_descriptor(const char *name, int descriptor) {
    if (!is_watched()) return;
    int saved = errno;
    struct stat status;
    char path[PATH_MAX];
    if (syscall(SYS_fstat, descriptor, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
        && descriptor_path(descriptor, path))
        tell(name, path);
    errno = saved;
}

#define NEXT(name) ((__typeof__(&name))(next ? next : (next = dlsym(RTLD_NEXT, #name))))
/* A call whose first argument is a path, a descriptor, or a directory's descriptor with a path. */
#define BY_PATH(type, name, parameters, path, ...) \
    type name parameters { static void *next; tell_path(#name, AT_FDCWD, path); return NEXT(name)(__VA_ARGS__); }
#define BY_DESCRIPTOR(type, name, parameters, descriptor, ...) \
    type name parameters { static void *next; tell_descriptor(#name, descriptor); return NEXT(name)(__VA_ARGS__); }
#define BY_DIRECTORY(type, name, parameters, directory, path, ...) \
    type name parameters { static void *next; tell_path(#name, directory, path); return NEXT(name)(__VA_ARGS__); }

#define MODE \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, int); \
        va_end(more); \
    }
int open(const char *path, int flags, ...) {
    static void *next;
    MODE
    tell_path("open", AT_FDCWD, path);
    return NEXT(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    static void *next;
    MODE
    tell_path("open", AT_FDCWD, path);
    return NEXT(open64)(path, flags, mode);
}
int openat(int directory, const char *path, int flags, ...) {
    static void *next;
    MODE
    tell_path("openat", directory, path);
    return NEXT(openat)(directory, path, flags, mode);
}
int openat64(int directory, const char *path, int flags, ...) {
    static void *next;
    MODE
    tell_path("openat", directory, path);
    return NEXT(openat64)(directory, path, flags, mode);
}

BY_DESCRIPTOR(int, close, (int a), a, a)
BY_DESCRIPTOR(ssize_t, read, (int a, void *b, size_t c), a, a, b, c)
BY_DESCRIPTOR(ssize_t, pread64, (int a, void *b, size_t c, off64_t d), a, a, b, c, d)
BY_DESCRIPTOR(ssize_t, readv, (int a, const struct iovec *b, int c), a, a, b, c)
BY_DESCRIPTOR(ssize_t, write, (int a, const void *b, size_t c), a, a, b, c)
BY_DESCRIPTOR(ssize_t, writev, (int a, const struct iovec *b, int c), a, a, b, c)
BY_DESCRIPTOR(ssize_t, pwrite, (int a, const void *b, size_t c, off_t d), a, a, b, c, d)
BY_DESCRIPTOR(ssize_t, pwrite64, (int a, const void *b, size_t c, off64_t d), a, a, b, c, d)
BY_DESCRIPTOR(int, fsync, (int a), a, a)
BY_DESCRIPTOR(int, fdatasync, (int a), a, a)
BY_DESCRIPTOR(int, ftruncate, (int a, off_t b), a, a, b)
BY_DESCRIPTOR(int, ftruncate64, (int a, off64_t b), a, a, b)
BY_DESCRIPTOR(int, fallocate64, (int a, int b, off64_t c, off64_t d), a, a, b, c, d)
BY_DESCRIPTOR(int, posix_fallocate64, (int a, off64_t b, off64_t c), a, a, b, c)
BY_DESCRIPTOR(int, fchmod, (int a, mode_t b), a, a, b)
BY_DESCRIPTOR(int, futimens, (int a, const struct timespec *b), a, a, b)
BY_DESCRIPTOR(int, fstatvfs64, (int a, struct statvfs64 *b), a, a, b)
BY_DESCRIPTOR(int, flock, (int a, int b), a, a, b)
BY_DESCRIPTOR(DIR *, fdopendir, (int a), a, a)

BY_PATH(int, stat64, (const char *a, struct stat64 *b), a, a, b)
BY_PATH(int, lstat64, (const char *a, struct stat64 *b), a, a, b)
BY_PATH(int, statvfs64, (const char *a, struct statvfs64 *b), a, a, b)
BY_PATH(int, access, (const char *a, int b), a, a, b)
BY_PATH(int, chmod, (const char *a, mode_t b), a, a, b)
BY_PATH(int, mkdir, (const char *a, mode_t b), a, a, b)
BY_PATH(int, rmdir, (const char *a), a, a)
BY_PATH(int, unlink, (const char *a), a, a)
BY_PATH(int, truncate64, (const char *a, off64_t b), a, a, b)
BY_PATH(DIR *, opendir, (const char *a), a, a)
BY_PATH(ssize_t, readlink, (const char *a, char *b, size_t c), a, a, b, c)
BY_PATH(char *, realpath, (const char *a, char *b), a, a, b)
BY_PATH(int, rename, (const char *a, const char *b), a, a, b)
BY_PATH(int, link, (const char *a, const char *b), a, a, b)
BY_PATH(int, symlink, (const char *a, const char *b), b, a, b)

BY_DIRECTORY(int, fstatat64, (int a, const char *b, struct stat64 *c, int d), a, b, a, b, c, d)
BY_DIRECTORY(int, faccessat, (int a, const char *b, int c, int d), a, b, a, b, c, d)
BY_DIRECTORY(int, mkdirat, (int a, const char *b, mode_t c), a, b, a, b, c)
BY_DIRECTORY(int, unlinkat, (int a, const char *b, int c), a, b, a, b, c)
BY_DIRECTORY(int, renameat, (int a, const char *b, int c, const char *d), a, b, a, b, c, d)
BY_DIRECTORY(int, linkat, (int a, const char *b, int c, const char *d, int e), a, b, a, b, c, d, e)
BY_DIRECTORY(int, fchmodat, (int a, const char *b, mode_t c, int d), a, b, a, b, c, d)
BY_DIRECTORY(int, utimensat, (int a, const char *b, const struct timespec c[2], int d), a, b, a, b, c, d)
