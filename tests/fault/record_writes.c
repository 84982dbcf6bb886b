/* A library to preload: it writes down every change of files below one directory, with its data.
 *
 * RECORD_ROOT names the directory, RECORD_FILE the record, which all processes append to in one order:
 * a change and its entry are made under one lock. Syncs have two entries, for their begin and end.
 * The beginning of each HTTP answer is written down before it is sent. Errors end the process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, MKDIR, WRITE, TRUNCATE, SYNC_BEGIN, SYNC_END, RENAME, UNLINK, LINK, SYMLINK, SENT, ZERO };

struct shared { pthread_mutex_t lock; uint64_t end; uint64_t syncs; };
struct entry { uint32_t kind, process; uint64_t inode, a; uint32_t first, second; };

static struct shared *shared;
static const char *root, *file;
static size_t root_length;

static void fail(const char *what) {
    dprintf(2, "record_writes: %s: %s\n", what, strerror(errno));
    abort();
}

__attribute__((constructor)) static void begin(void) {
    root = getenv("RECORD_ROOT");
    file = getenv("RECORD_FILE");
    if (!root || !file) return;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s.lock", file);
    int new = 1, descriptor = syscall(SYS_open, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (descriptor < 0) {
        new = 0;
        descriptor = syscall(SYS_open, path, O_RDWR | O_CLOEXEC);
    }
    if (descriptor < 0) fail(path);
    if (new && syscall(SYS_ftruncate, descriptor, sizeof *shared)) fail(path);
    struct shared *map = mmap(0, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (map == MAP_FAILED) fail("mmap");
    syscall(SYS_close, descriptor);
    if (new) {
        pthread_mutexattr_t kind;
        pthread_mutexattr_init(&kind);
        pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(&map->lock, &kind);
    }
    root_length = strlen(root);
    shared = map;
}

static void lock(void) {
    if (pthread_mutex_lock(&shared->lock) == EOWNERDEAD) pthread_mutex_consistent(&shared->lock);
}

static void unlock(void) { pthread_mutex_unlock(&shared->lock); }

static void put_at(int descriptor, const void *data, size_t count, uint64_t *offset) {
    while (count) {
        ssize_t done = syscall(SYS_pwrite64, descriptor, data, count, *offset);
        if (done <= 0) fail("the record cannot be written");
        data = (const char *)data + done;
        count -= done;
        *offset += done;
    }
}

/* Append an entry; the lock is held. An entry exists once ``end`` is behind it. */
static void note(uint32_t kind, uint64_t inode, uint64_t a, const void *first, size_t first_count,
                 const void *second, size_t second_count) {
    int saved = errno;
    struct entry entry = {kind, getpid(), inode, a, first_count, second_count};
    int descriptor = syscall(SYS_open, file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0) fail(file);
    uint64_t end = shared->end;
    put_at(descriptor, &entry, sizeof entry, &end);
    put_at(descriptor, first, first_count, &end);
    put_at(descriptor, second, second_count, &end);
    shared->end = end;
    syscall(SYS_close, descriptor);
    errno = saved;
}

static int is_below(const char *path) {
    return !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

/* Whether a descriptor is a file or directory below the root; its inode. */
static int watched(int descriptor, uint64_t *inode) {
    if (!shared) return 0;
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    int saved = errno;
    ssize_t count = syscall(SYS_readlink, name, path, sizeof path - 1);
    errno = saved;
    if (count < 0) return 0;
    path[count] = 0;
    struct stat status;
    if (!is_below(path) || fstat(descriptor, &status)) return 0;
    *inode = status.st_ino;
    return S_ISREG(status.st_mode) || S_ISDIR(status.st_mode);
}

/* The absolute path; 0 when it is not below the root. */
static int absolute(int directory, const char *path, char *result) {
    if (!shared || !path) return 0;
    char base[PATH_MAX] = "";
    int saved = errno;
    if (path[0] != '/') {
        if (directory == AT_FDCWD) {
            if (syscall(SYS_getcwd, base, sizeof base) < 0) base[0] = 0;
        } else {
            char name[64];
            snprintf(name, sizeof name, "/proc/self/fd/%d", directory);
            ssize_t count = syscall(SYS_readlink, name, base, sizeof base - 1);
            base[count < 0 ? 0 : count] = 0;
        }
        strncat(base, "/", sizeof base - strlen(base) - 1);
    }
    errno = saved;
    return snprintf(result, PATH_MAX, "%s%s", base, path) < PATH_MAX && is_below(result);
}

static void note_answer(int descriptor, const struct iovec *parts, int count) {
    if (!shared || count < 1 || parts[0].iov_len < 9 || memcmp(parts[0].iov_base, "HTTP/1.1 ", 9)) return;
    struct stat status;
    if (fstat(descriptor, &status) || !S_ISSOCK(status.st_mode)) return;
    lock();
    note(SENT, 0, 0, parts[0].iov_base, parts[0].iov_len < 2048 ? parts[0].iov_len : 2048, 0, 0);
    unlock();
}

static void note_parts(uint64_t inode, uint64_t offset, const struct iovec *parts, size_t count) {
    for (int index = 0; count; index++) {
        size_t piece = parts[index].iov_len < count ? parts[index].iov_len : count;
        note(WRITE, inode, offset, parts[index].iov_base, piece, 0, 0);
        offset += piece;
        count -= piece;
    }
}

/* ---- opening */

static int open_noted(int directory, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    if (!(flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE || !absolute(directory, path, full))
        return syscall(SYS_openat, directory, path, flags, mode);
    lock();
    struct stat status;
    int saved = errno, is_new = lstat(full, &status) != 0;
    errno = saved;
    int descriptor = syscall(SYS_openat, directory, path, flags, mode);
    if (descriptor >= 0 && !fstat(descriptor, &status)) {
        if (is_new) note(CREATE, status.st_ino, 0, full, strlen(full), 0, 0);
        else if (flags & O_TRUNC) note(TRUNCATE, status.st_ino, 0, 0, 0, 0, 0);
    }
    unlock();
    return descriptor;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, int); \
        va_end(more); \
    }
int open(const char *path, int flags, ...) { MODE(flags) return open_noted(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_noted(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return open_noted(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return open_noted(at, path, flags, mode); }
int creat(const char *path, mode_t mode) { return open_noted(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* ---- data */

ssize_t write(int descriptor, const void *data, size_t count) {
    uint64_t inode;
    if (!watched(descriptor, &inode)) {
        struct iovec part = {(void *)data, count};
        note_answer(descriptor, &part, 1);
        return syscall(SYS_write, descriptor, data, count);
    }
    lock();
    ssize_t done = syscall(SYS_write, descriptor, data, count);
    if (done > 0) note(WRITE, inode, lseek(descriptor, 0, SEEK_CUR) - done, data, done, 0, 0);
    unlock();
    return done;
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    uint64_t inode;
    if (!watched(descriptor, &inode)) {
        note_answer(descriptor, parts, count);
        return syscall(SYS_writev, descriptor, parts, count);
    }
    lock();
    ssize_t done = syscall(SYS_writev, descriptor, parts, count);
    if (done > 0) note_parts(inode, lseek(descriptor, 0, SEEK_CUR) - done, parts, done);
    unlock();
    return done;
}

ssize_t pwrite(int descriptor, const void *data, size_t count, off_t offset) {
    uint64_t inode;
    if (!watched(descriptor, &inode)) return syscall(SYS_pwrite64, descriptor, data, count, offset);
    lock();
    ssize_t done = syscall(SYS_pwrite64, descriptor, data, count, offset);
    if (done > 0) note(WRITE, inode, offset, data, done, 0, 0);
    unlock();
    return done;
}
ssize_t pwrite64(int descriptor, const void *data, size_t count, off_t offset) {
    return pwrite(descriptor, data, count, offset);
}

ssize_t pwritev(int descriptor, const struct iovec *parts, int count, off_t offset) {
    uint64_t inode;
    if (!watched(descriptor, &inode)) return syscall(SYS_pwritev, descriptor, parts, count, offset, 0);
    lock();
    ssize_t done = syscall(SYS_pwritev, descriptor, parts, count, offset, 0);
    if (done > 0) note_parts(inode, offset, parts, done);
    unlock();
    return done;
}
ssize_t pwritev64(int descriptor, const struct iovec *parts, int count, off_t offset) {
    return pwritev(descriptor, parts, count, offset);
}

ssize_t send(int descriptor, const void *data, size_t count, int flags) {
    struct iovec part = {(void *)data, count};
    note_answer(descriptor, &part, 1);
    return syscall(SYS_sendto, descriptor, data, count, flags, 0, 0);
}

ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags) {
    note_answer(descriptor, message->msg_iov, message->msg_iovlen);
    return syscall(SYS_sendmsg, descriptor, message, flags);
}

static void note_copy(uint64_t inode, int source, off_t from, off_t to, size_t count) {
    char *piece = malloc(1 << 20);
    while (count) {
        size_t wanted = count < 1 << 20 ? count : 1 << 20;
        ssize_t done = syscall(SYS_pread64, source, piece, wanted, from);
        if (done <= 0) fail("what was copied cannot be read");
        note(WRITE, inode, to, piece, done, 0, 0);
        from += done;
        to += done;
        count -= done;
    }
    free(piece);
}

ssize_t sendfile(int target, int source, off_t *offset, size_t count) {
    uint64_t inode;
    if (!watched(target, &inode)) return syscall(SYS_sendfile, target, source, offset, count);
    lock();
    off_t from = offset ? *offset : lseek(source, 0, SEEK_CUR), to = lseek(target, 0, SEEK_CUR);
    ssize_t done = syscall(SYS_sendfile, target, source, offset, count);
    if (done > 0) note_copy(inode, source, from, to, done);
    unlock();
    return done;
}
ssize_t sendfile64(int target, int source, off_t *offset, size_t count) {
    return sendfile(target, source, offset, count);
}

ssize_t copy_file_range(int source, off64_t *from, int target, off64_t *to, size_t count, unsigned flags) {
    uint64_t inode;
    if (!watched(target, &inode)) return syscall(SYS_copy_file_range, source, from, target, to, count, flags);
    lock();
    off_t a = from ? *from : lseek(source, 0, SEEK_CUR), b = to ? *to : lseek(target, 0, SEEK_CUR);
    ssize_t done = syscall(SYS_copy_file_range, source, from, target, to, count, flags);
    if (done > 0) note_copy(inode, source, a, b, done);
    unlock();
    return done;
}

int ioctl(int descriptor, unsigned long request, ...) {
    va_list more;
    va_start(more, request);
    void *argument = va_arg(more, void *);
    va_end(more);
    uint64_t inode;
    if (request != FICLONE || !watched(descriptor, &inode)) return syscall(SYS_ioctl, descriptor, request, argument);
    lock();
    int result = syscall(SYS_ioctl, descriptor, request, argument);
    struct stat status;
    if (!result && !fstat(descriptor, &status)) {
        note(TRUNCATE, inode, 0, 0, 0, 0, 0);
        note_copy(inode, (int)(intptr_t)argument, 0, 0, status.st_size);
    }
    unlock();
    return result;
}

static int resized(int descriptor, int (*change)(int, int, off_t, off_t), int how, off_t offset, off_t count) {
    uint64_t inode;
    if (!watched(descriptor, &inode)) return change(descriptor, how, offset, count);
    lock();
    struct stat before, after;
    fstat(descriptor, &before);
    int result = change(descriptor, how, offset, count);
    fstat(descriptor, &after);
    if (!result && how > 0 && how & FALLOC_FL_PUNCH_HOLE) {
        uint64_t many = count;
        note(ZERO, inode, offset, &many, sizeof many, 0, 0);
    } else if (!result && (how < 0 || before.st_size != after.st_size)) {
        note(TRUNCATE, inode, after.st_size, 0, 0, 0, 0);
    }
    unlock();
    return result;
}
static int do_truncate(int descriptor, int how, off_t offset, off_t count) {
    return syscall(SYS_ftruncate, descriptor, count);
}
static int do_allocate(int descriptor, int how, off_t offset, off_t count) {
    return syscall(SYS_fallocate, descriptor, how, offset, count);
}
int ftruncate(int descriptor, off_t size) { return resized(descriptor, do_truncate, -1, 0, size); }
int ftruncate64(int descriptor, off_t size) { return ftruncate(descriptor, size); }
int fallocate(int descriptor, int how, off_t offset, off_t count) {
    return resized(descriptor, do_allocate, how, offset, count);
}
int fallocate64(int descriptor, int how, off_t offset, off_t count) { return fallocate(descriptor, how, offset, count); }
int posix_fallocate(int descriptor, off_t offset, off_t count) {
    return fallocate(descriptor, 0, offset, count) ? errno : 0;
}
int posix_fallocate64(int descriptor, off_t offset, off_t count) { return posix_fallocate(descriptor, offset, count); }

/* ---- syncs */

static int synced(int descriptor, int call) {
    uint64_t inode;
    if (!watched(descriptor, &inode)) return syscall(call, descriptor);
    lock();
    uint64_t number = ++shared->syncs;
    note(SYNC_BEGIN, inode, number, 0, 0, 0, 0);
    unlock();
    int result = syscall(call, descriptor);
    if (!result) {
        lock();
        note(SYNC_END, inode, number, 0, 0, 0, 0);
        unlock();
    }
    return result;
}
int fsync(int descriptor) { return synced(descriptor, SYS_fsync); }
int fdatasync(int descriptor) { return synced(descriptor, SYS_fdatasync); }

/* ---- names */

static int two_names(uint32_t kind, int from_at, const char *from, int to_at, const char *to, int flags) {
    char first[PATH_MAX], second[PATH_MAX];
    int is_first = absolute(from_at, from, first), is_second = absolute(to_at, to, second);
    int call = kind == RENAME ? SYS_renameat2 : SYS_linkat;
    if (!is_first && !is_second) return syscall(call, from_at, from, to_at, to, flags);
    lock();
    int result = syscall(call, from_at, from, to_at, to, flags);
    if (!result) note(kind, 0, 0, is_first ? first : from, strlen(is_first ? first : from),
                      is_second ? second : to, strlen(is_second ? second : to));
    unlock();
    return result;
}
int rename(const char *a, const char *b) { return two_names(RENAME, AT_FDCWD, a, AT_FDCWD, b, 0); }
int renameat(int x, const char *a, int y, const char *b) { return two_names(RENAME, x, a, y, b, 0); }
int renameat2(int x, const char *a, int y, const char *b, unsigned f) { return two_names(RENAME, x, a, y, b, f); }
int link(const char *a, const char *b) { return two_names(LINK, AT_FDCWD, a, AT_FDCWD, b, 0); }
int linkat(int x, const char *a, int y, const char *b, int f) { return two_names(LINK, x, a, y, b, f); }

int unlinkat(int directory, const char *path, int flags) {
    char full[PATH_MAX];
    if (!absolute(directory, path, full)) return syscall(SYS_unlinkat, directory, path, flags);
    lock();
    int result = syscall(SYS_unlinkat, directory, path, flags);
    if (!result) note(UNLINK, 0, 0, full, strlen(full), 0, 0);
    unlock();
    return result;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) {
    int result = unlink(path);
    return result && errno == EISDIR ? rmdir(path) : result;
}

int mkdirat(int directory, const char *path, mode_t mode) {
    char full[PATH_MAX];
    if (!absolute(directory, path, full)) return syscall(SYS_mkdirat, directory, path, mode);
    lock();
    int result = syscall(SYS_mkdirat, directory, path, mode);
    struct stat status;
    if (!result && !lstat(full, &status)) note(MKDIR, status.st_ino, mode, full, strlen(full), 0, 0);
    unlock();
    return result;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int symlinkat(const char *target, int directory, const char *path) {
    char full[PATH_MAX];
    if (!absolute(directory, path, full)) return syscall(SYS_symlinkat, target, directory, path);
    lock();
    int result = syscall(SYS_symlinkat, target, directory, path);
    if (!result) note(SYMLINK, 0, 0, full, strlen(full), target, strlen(target));
    unlock();
    return result;
}
int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }
