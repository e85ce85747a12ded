/* Faults of a file system, for a process that is started with this library preloaded (LD_PRELOAD).

   flock answers ENOLCK, as some network mounts do. While the file that FAULT_FILE names is there, reads of shards by
   position, as HDF5, Arrow and os.pread do them, answer FAULT_ERROR. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

int flock(int descriptor, int operation) {
    (void)descriptor;
    (void)operation;
    errno = ENOLCK;
    return -1;
}

static int fails(int descriptor) {
    char link[64], name[4096];
    const char *file = getenv("FAULT_FILE");
    if (file == NULL || access(file, F_OK) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0)
        return 0;
    name[length] = 0;
    if (strstr(name, "/data/") == NULL)
        return 0;
    errno = atoi(getenv("FAULT_ERROR"));
    return 1;
}

ssize_t pread(int descriptor, void *buffer, size_t count, off_t offset) {
    static ssize_t (*original)(int, void *, size_t, off_t);
    if (original == NULL)
        original = dlsym(RTLD_NEXT, "pread");
    return fails(descriptor) ? -1 : original(descriptor, buffer, count, offset);
}

ssize_t pread64(int descriptor, void *buffer, size_t count, off_t offset) {
    static ssize_t (*original)(int, void *, size_t, off_t);
    if (original == NULL)
        original = dlsym(RTLD_NEXT, "pread64");
    return fails(descriptor) ? -1 : original(descriptor, buffer, count, offset);
}
