// SPDX-License-Identifier: MIT
/* os.c - files and folders, on POSIX systems and on Windows. Child programs are in process.c, what the machine tells of itself in
 * machine.c. Knows nothing of formats: bytes in, bytes out.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 // MAP_POPULATE, besides everything of POSIX
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE 1
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif

#include "base/os.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

#ifdef _WIN32
#include <direct.h>
#include <io.h>
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif
#ifndef O_BINARY
#define O_BINARY 0
#endif
#ifndef O_CLOEXEC
#define O_CLOEXEC 0
#endif

// Status 2 when the path itself is at fault, 1 when the machine is (disk full, I/O error, too many open files).
static int errno_error(Err *err, const char *path, const char *what, int code)
{
    switch (code) {
    case ENOENT: case ENOTDIR: case EISDIR: case EACCES: case EPERM: case EROFS: case ENAMETOOLONG: case EEXIST: case EINVAL:
#ifdef ELOOP
    case ELOOP:
#endif
        return err_input(err, "%s: %s%s", path, what, strerror(code));
    default:
        return err_failed(err, "%s: %s%s", path, what, strerror(code));
    }
}

// ---- reading -------------------------------------------------------------------------------------------------------------

static const uint8_t no_bytes[1] = {0}; // what an empty file maps to

#ifdef _WIN32
typedef struct _stat64 FileInfo;
static int path_info(const char *path, FileInfo *info) { return _stat64(path, info); }
static int file_info(int fd, FileInfo *info) { return _fstat64(fd, info); }
#else
typedef struct stat FileInfo;
static int path_info(const char *path, FileInfo *info) { return stat(path, info); }
static int file_info(int fd, FileInfo *info) { return fstat(fd, info); }
#endif

// The descriptor, or -1.
static int open_for_reading(FileInfo *info, const char *path, Err *err)
{
    // Asked before opening as well: Windows cannot open a folder at all and would blame the permissions.
    if (path_info(path, info) == 0 && S_ISDIR(info->st_mode)) return err_input(err, "%s: is a folder; a file was expected", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_BINARY);
    if (fd < 0) return errno_error(err, path, "", errno);
    if (file_info(fd, info) == 0) return fd;
    int code = errno;
    close(fd);
    return errno_error(err, path, "", code);
}

// Reads to the end whatever size was announced: pipes and /proc announce none.
static int read_all(Text *text, int fd, const char *path, Err *err)
{
    enum { CHUNK = 1 << 16 };
    char *chunk = mem_new(err, CHUNK, 1);
    int status = chunk ? text_add(text, err, "", 0) : -1;
    while (!status) {
        int got = (int)read(fd, chunk, CHUNK);
        if (got < 0 && errno == EINTR) continue;
        if (got == 0) break;
        status = got < 0 ? errno_error(err, path, "cannot read: ", errno) : text_add(text, err, chunk, (size_t)got);
    }
    mem_free(chunk);
    return status;
}

int os_read_file(Text *text, const char *path, Err *err)
{
    FileInfo info;
    int fd = open_for_reading(&info, path, err);
    if (fd < 0) return -1;
    int status = read_all(text, fd, path, err);
    close(fd);
    return status;
}

static const uint8_t *map_view(int fd, size_t size, bool writable)
{
#ifdef _WIN32
    (void)size;
    if (writable) return NULL; // a mapped file could not be replaced on Windows, and checkpoints are
    HANDLE mapping = CreateFileMappingA((HANDLE)_get_osfhandle(fd), NULL, PAGE_READONLY, 0, 0, NULL);
    if (!mapping) return NULL;
    const uint8_t *data = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
    CloseHandle(mapping); // the view keeps it alive
    return data;
#else
#ifdef MAP_POPULATE
    // All pages of a private mapping at once, while it is still read-only: nothing is copied, and no page is asked for one by one.
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE | (writable ? MAP_POPULATE : 0), fd, 0);
    if (data != MAP_FAILED && writable && mprotect(data, size, PROT_READ | PROT_WRITE)) {
        munmap(data, size);
        return NULL;
    }
#else
    void *data = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_PRIVATE, fd, 0);
#endif
    return data == MAP_FAILED ? NULL : data;
#endif
}

// handle is the heap copy of a file that could not be mapped, NULL when data is a view of the file itself.
int os_map_file(OsMap *map, const char *path, Err *err)
{
    FileInfo info;
    *map = (OsMap){0};
    int status = 0, fd = open_for_reading(&info, path, err);
    if (fd < 0) return -1;
    if (S_ISREG(info.st_mode) && info.st_size > 0) {
        if ((uint64_t)info.st_size > SIZE_MAX / 2)
            status = err_failed(err, "%s: %.0f MB do not fit this machine's address space", path, (double)info.st_size / 1e6);
        else if ((map->data = map_view(fd, (size_t)info.st_size, false)))
            map->size = (size_t)info.st_size;
    }
    if (!status && !map->data) {
        Text text = {0};
        status = read_all(&text, fd, path, err);
        if (status || text.length == 0) text_free(&text);
        map->handle = text.data;
        map->size = text.length;
        map->data = text.data ? (const uint8_t *)text.data : no_bytes;
    }
    close(fd);
    if (status) *map = (OsMap){0};
    return status;
}

int os_map_private(OsMap *map, const char *path, Err *err)
{
    FileInfo info;
    *map = (OsMap){0};
    int fd = open_for_reading(&info, path, err);
    if (fd < 0) return -1;
    bool possible = S_ISREG(info.st_mode) && info.st_size > 0 && (uint64_t)info.st_size <= SIZE_MAX / 2;
    if (possible && (map->data = map_view(fd, (size_t)info.st_size, true))) map->size = (size_t)info.st_size;
    close(fd);
    return map->data ? 0 : 1;
}

void os_unmap(OsMap *map)
{
    if (map->handle) mem_free(map->handle);
#ifdef _WIN32
    else if (map->size) UnmapViewOfFile(map->data);
#else
    else if (map->size) munmap((void *)(uintptr_t)map->data, map->size);
#endif
    *map = (OsMap){0};
}

// ---- writing -------------------------------------------------------------------------------------------------------------

// Pipes, terminals and devices are written in place: renaming a file over /dev/null would replace the device.
static bool written_in_place(const char *path)
{
    FileInfo info;
    if (!strncmp(path, "/dev/", 5) || !strncmp(path, "/proc/", 6)) return true;
    return path_info(path, &info) == 0 && !S_ISREG(info.st_mode);
}

void os_writer_discard(OsWriter *writer)
{
    if (writer->file) {
        fclose(writer->file);
        if (writer->temporary) remove(writer->temporary);
    }
    mem_free(writer->path);
    mem_free(writer->temporary);
    *writer = (OsWriter){0};
}

int os_writer_open(OsWriter *writer, const char *path, Err *err)
{
    *writer = (OsWriter){0};
    if (!*path) return err_input(err, "the name of the file to write is empty");
    if (os_is_folder(path)) return err_input(err, "%s: is a folder; the name of a file was expected", path);
    bool in_place = written_in_place(path);
    writer->path = mem_copy_text(err, path);
    if (writer->path && !in_place) {
        Text name = {0};
        if (text_printf(&name, err, "%s.tmp", path)) text_free(&name);
        writer->temporary = name.data;
    }
    if (!writer->path || (!in_place && !writer->temporary)) {
        os_writer_discard(writer);
        return -1;
    }
    int fd = open(writer->temporary ? writer->temporary : path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_BINARY, 0666);
    int code = errno;
    if (fd >= 0 && !(writer->file = fdopen(fd, "wb"))) code = errno, close(fd);
    if (writer->file) return 0;
    os_writer_discard(writer);
    return errno_error(err, path, "cannot create: ", code);
}

// Removes the temporary file, then reports.
static int writer_fail(OsWriter *writer, const char *what, int code, Err *err)
{
    err_failed(err, "%s: %s: %s", writer->path, what, code ? strerror(code) : "unknown error");
    os_writer_discard(writer);
    return -1;
}

int os_writer_write(OsWriter *writer, const void *bytes, size_t n, Err *err)
{
    if (!writer->file) return err_failed(err, "writing to a file that is not open");
    errno = 0;
    if (n && fwrite(bytes, 1, n, writer->file) != n) return writer_fail(writer, "cannot write", errno, err);
    return 0;
}

// After a rename the folder's own entry must reach the disk. Not every file system can sync a folder: that is not an error.
// Cuts path off at its last slash.
static void sync_folder_of(char *path)
{
#ifdef _WIN32
    (void)path;
#else
    char *slash = strrchr(path, '/');
    if (slash) slash[slash == path] = '\0';
    int fd = open(slash ? path : ".", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
#endif
}

static int replace_file(const char *from, const char *to)
{
#ifdef _WIN32
    if (MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)) return 0;
    errno = GetLastError() == ERROR_DISK_FULL ? ENOSPC : EACCES;
    return -1;
#else
    return rename(from, to);
#endif
}

static int sync_file(FILE *file)
{
#ifdef _WIN32
    return _commit(_fileno(file));
#else
    return fsync(fileno(file));
#endif
}

int os_writer_commit(OsWriter *writer, Err *err)
{
    if (!writer->file) return err_failed(err, "committing a file that is not open");
    errno = 0;
    if (fflush(writer->file)) return writer_fail(writer, "cannot write", errno, err);
    if (writer->temporary && sync_file(writer->file)) return writer_fail(writer, "cannot sync", errno, err); // devices cannot
    FILE *file = writer->file;
    writer->file = NULL;
    if (fclose(file)) {
        int code = errno;
        if (writer->temporary) remove(writer->temporary);
        return writer_fail(writer, "cannot close", code, err);
    }
    if (writer->temporary && replace_file(writer->temporary, writer->path)) {
        int code = errno;
        remove(writer->temporary);
        return writer_fail(writer, "cannot rename the finished file into place", code, err);
    }
    if (writer->temporary) sync_folder_of(writer->path);
    os_writer_discard(writer);
    return 0;
}

int os_write_file(const char *path, const void *bytes, size_t n, Err *err)
{
    OsWriter writer;
    return os_writer_open(&writer, path, err) || os_writer_write(&writer, bytes, n, err) || os_writer_commit(&writer, err) ? -1 : 0;
}

// ---- folders -------------------------------------------------------------------------------------------------------------

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int names_add(OsNames *names, size_t *capacity, const char *name, Err *err)
{
    if (names->count == *capacity) {
        size_t wanted = *capacity ? *capacity * 2 : 64;
        char **grown = mem_resize(err, names->names, names->count, wanted, sizeof *grown);
        if (!grown) return -1;
        names->names = grown;
        *capacity = wanted;
    }
    if (!(names->names[names->count] = mem_copy_text(err, name))) return -1;
    names->count++;
    return 0;
}

int os_list_folder(OsNames *names, const char *path, Err *err)
{
    *names = (OsNames){0};
    size_t capacity = 0;
    int status = 0;
    DIR *folder = opendir(path);
    if (!folder)
        return errno == ENOTDIR ? err_input(err, "%s: is a file; a folder was expected", path)
                                : errno_error(err, path, "", errno);
    while (!status) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (!entry) {
            if (errno) status = errno_error(err, path, "cannot list the folder: ", errno);
            break;
        }
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) status = names_add(names, &capacity, entry->d_name, err);
    }
    closedir(folder);
    if (status) os_names_free(names);
    else if (names->count) qsort(names->names, names->count, sizeof *names->names, compare_names);
    return status;
}

void os_names_free(OsNames *names)
{
    for (size_t i = 0; i < names->count; i++) mem_free(names->names[i]);
    mem_free(names->names);
    *names = (OsNames){0};
}

bool os_is_folder(const char *path)
{
    FileInfo info;
    return path_info(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool os_is_file(const char *path)
{
    FileInfo info;
    return path_info(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

bool os_is_regular(const char *path)
{
    FileInfo info;
    return path_info(path, &info) == 0 && S_ISREG(info.st_mode);
}

static bool is_separator(char c)
{
#ifdef _WIN32
    if (c == '\\') return true;
#endif
    return c == '/';
}

static int make_folder(const char *path, Err *err)
{
    if (os_is_folder(path)) return 0;
#ifdef _WIN32
    int made = _mkdir(path);
#else
    int made = mkdir(path, 0777);
#endif
    int code = errno;
    if (made == 0 || os_is_folder(path)) return 0; // another process may have been faster
    if (code == EEXIST) return err_input(err, "%s: exists and is not a folder", path);
    return errno_error(err, path, "cannot create the folder: ", code);
}

int os_make_folders(const char *path, Err *err)
{
    if (!*path) return err_input(err, "the name of the folder to create is empty");
    char *part = mem_copy_text(err, path);
    if (!part) return -1;
    int status = 0;
    for (size_t i = 1; !status && part[i - 1]; i++) {
        char end = part[i];
        if ((end && !is_separator(end)) || is_separator(part[i - 1])) continue;
        part[i] = '\0';
        if (part[i - 1] != ':') status = make_folder(part, err); // "C:" always exists
        part[i] = end;
    }
    mem_free(part);
    return status;
}

char *os_join(Err *err, const char *folder, const char *name)
{
    size_t n = strlen(folder);
    Text path = {0};
    if (text_printf(&path, err, "%s%s%s", folder, n == 0 || is_separator(folder[n - 1]) ? "" : "/", name)) text_free(&path);
    return path.data;
}
