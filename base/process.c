// SPDX-License-Identifier: MIT
/* process.c - a child program with a pipe to it and a pipe from it. Every wait has a limit, a full pipe on one side never
 * blocks the other, and the calling process keeps its signal handlers and dispositions. Knows nothing of what is said.
 *
 * Start at pump(), which moves all bytes; below it are the few calls that differ between POSIX and Windows.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE 1
#endif

#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
typedef struct { HANDLE process, job, to, from; } Pipes;
#define NOT_OPEN NULL
#else
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
typedef struct { pid_t process; int to, from; } Pipes;
#define NOT_OPEN (-1)
#endif

enum { CHUNK = 1 << 16, LONGEST_LINE = 1 << 26 }; // a program that never ends a line must not exhaust the memory

struct OsChild {
    Pipes os;
    char *command;
    Text seen;     // what it wrote; seen.data[taken ..] has not been handed out
    size_t taken;
    bool last;     // no input follows what is being sent
    bool finished; // the process is gone and `ending` says how
    bool success;  // it went with status 0
    char ending[64];
};

// ---- what differs between systems ----------------------------------------------------------------------------------------

static int start_program(Pipes *os, const char *command, Err *err);
static void close_input(Pipes *os);
static void close_output(Pipes *os);
static void wait_ready(Pipes *os, bool writing, double seconds);         // until bytes can move, or so long
static long send_some(Pipes *os, const char *bytes, size_t n);           // bytes taken, 0 not now, -1 nobody reads them any more
static long receive_some(Pipes *os, char *bytes, size_t n);              // bytes received, 0 not now, -1 end
static bool collect_status(OsChild *child);                              // has it ended? fills finished, success, ending
static void kill_program(OsChild *child);                                // with what it started, and collects its status

// ---- the same everywhere -------------------------------------------------------------------------------------------------

OsChild *os_child_start(const char *command, Err *err)
{
    OsChild *child = mem_new(err, 1, sizeof *child);
    if (!child) return NULL;
    child->command = mem_copy_text(err, command);
    if (!child->command || start_program(&child->os, command, err)) {
        mem_free(child->command);
        mem_free(child);
        return NULL;
    }
    return child;
}

static int receive(OsChild *child, Err *err)
{
    char bytes[4096]; // small enough for the stack of any thread
    for (int i = 0; i < CHUNK / (int)sizeof bytes; i++) {
        long got = receive_some(&child->os, bytes, sizeof bytes);
        if (got < 0) close_output(&child->os);
        if (got <= 0) break;
        if (text_add(&child->seen, err, bytes, (size_t)got)) return -1;
    }
    return 0;
}

static int time_out(OsChild *child, const char *what, double timeout_s, Err *err)
{
    kill_program(child);
    return err_failed(err, "command \"%s\": %s within %g s", child->command, what, timeout_s);
}

/* Sends n bytes and waits for `lines` complete lines beyond child->taken; returns when both are there or can no longer come
 * (input refused, end of output). *length is where those lines end, *found how many there are, *sent the bytes taken.
 * The time limit is for each line, so that a long batch may take long but a silent program may not.
 */
typedef struct { size_t sent, found, length; } Pumped;
static int pump(OsChild *child, Pumped *done, const char *input, size_t n, size_t lines, double timeout_s, Err *err)
{
    double deadline = os_now_s() + timeout_s;
    size_t scanned = child->taken; // no newline in seen.data[done->length .. scanned)
    *done = (Pumped){0, 0, child->taken};
    for (;;) {
        while (done->found < lines && scanned < child->seen.length) {
            const char *start = child->seen.data + scanned, *end = memchr(start, '\n', child->seen.length - scanned);
            scanned = end ? scanned + (size_t)(end - start) + 1 : child->seen.length;
            if (!end) break;
            done->length = scanned;
            done->found++;
            deadline = os_now_s() + timeout_s;
        }
        bool writing = done->sent < n && child->os.to != NOT_OPEN;
        if (!writing && child->last) close_input(&child->os);
        if (!writing && (done->found == lines || child->os.from == NOT_OPEN)) return 0;
        if (child->seen.length - done->length > LONGEST_LINE)
            return err_failed(
                err, "command \"%s\": wrote more than %d MB where a line was expected", child->command, LONGEST_LINE >> 20);
        double left = deadline - os_now_s();
        if (timeout_s >= 0 && left <= 0) return time_out(child, writing ? "did not read its input" : "no reply", timeout_s, err);
        wait_ready(&child->os, writing, timeout_s >= 0 ? left : 3600);
        if (writing) {
            long sent = send_some(&child->os, input + done->sent, n - done->sent);
            if (sent < 0) close_input(&child->os);
            else done->sent += (size_t)sent;
        }
        if (child->os.from != NOT_OPEN && receive(child, err)) return -1;
    }
}

// How the program ended, or that it did not: for messages, after its output or input was found closed.
static const char *ending(OsChild *child)
{
    for (double limit = os_now_s() + 1; !collect_status(child) && os_now_s() < limit;) wait_ready(NULL, false, 0.005);
    return child->finished ? child->ending : "it is still running";
}

static void forget_taken(OsChild *child, size_t taken)
{
    child->taken = taken;
    if (taken <= child->seen.length / 2) return; // moving the rest costs less than what was taken
    memmove(child->seen.data, child->seen.data + taken, child->seen.length - taken);
    child->seen.length -= taken;
    child->taken = 0;
}

void os_child_last_input(OsChild *child) { child->last = true; }

int os_child_write(OsChild *child, const void *bytes, size_t n, double timeout_s, Err *err)
{
    Pumped done;
    if (pump(child, &done, bytes, n, 0, timeout_s, err)) return -1;
    if (done.sent == n) return 0;
    return err_failed(err, "command \"%s\": stopped reading its input (%s)", child->command, ending(child));
}

int os_child_read_line(OsChild *child, Text *line, double timeout_s, Err *err)
{
    Pumped done;
    line->length = 0;
    if (pump(child, &done, NULL, 0, 1, timeout_s, err)) return -1;
    size_t end = done.found ? done.length : child->seen.length, n = end - child->taken;
    if (n == 0) return 0; // even an empty line has its newline
    if (text_add(line, err, child->seen.data + child->taken, n - done.found)) return -1;
    forget_taken(child, end);
    return 1;
}

int os_child_exchange(OsChild *child, const char *input, size_t n, size_t lines, Text *output, double timeout_s, Err *err)
{
    Pumped done;
    if (pump(child, &done, input, n, lines, timeout_s, err)) return -1;
    size_t end = done.length;
    bool unended = done.found + 1 == lines && child->seen.length > end; // the last line may lack its newline
    if (done.found + unended < lines)
        return err_failed(err, "command \"%s\": its output ended after %zu of %zu lines (%s)", child->command, done.found, lines,
            ending(child));
    if (unended) end = child->seen.length;
    if (text_add(output, err, child->seen.data ? child->seen.data + child->taken : "", end - child->taken)) return -1;
    if (unended && text_puts(output, err, "\n")) return -1;
    forget_taken(child, end);
    return 0;
}

int os_child_stop(OsChild *child, double timeout_s, Err *err)
{
    if (!child) return 0;
    close_input(&child->os);
    double deadline = os_now_s() + timeout_s, pause = 0.001;
    int status = 0;
    while (!collect_status(child) && !status) {
        child->seen.length = 0; // nobody will read it, but it must not block on writing it
        if (child->os.from != NOT_OPEN && receive(child, NULL)) close_output(&child->os);
        if (timeout_s >= 0 && os_now_s() >= deadline) {
            status = time_out(child, "did not end after its input was closed", timeout_s, err);
        } else {
            wait_ready(child->os.from != NOT_OPEN ? &child->os : NULL, false, pause); // its end may show only in its status
            if (pause < 0.02) pause *= 2;
        }
    }
    if (!status && !child->success) status = err_failed(err, "command \"%s\": %s", child->command, child->ending);
    close_output(&child->os);
#ifdef _WIN32
    CloseHandle(child->os.process);
    if (child->os.job) CloseHandle(child->os.job);
#endif
    text_free(&child->seen);
    mem_free(child->command);
    mem_free(child);
    return status;
}

#ifndef _WIN32

// ---- POSIX ---------------------------------------------------------------------------------------------------------------

#ifdef __APPLE__
#include <crt_externs.h>
#define environ (*_NSGetEnviron())
#elif !defined(__linux__)
extern char **environ; // POSIX has the program declare it
#endif

static void close_end(int *fd)
{
    if (*fd != NOT_OPEN) close(*fd);
    *fd = NOT_OPEN;
}

static void close_input(Pipes *os) { close_end(&os->to); }
static void close_output(Pipes *os) { close_end(&os->from); }

// A pipe whose ends are closed on exec (another child must not hold them open) and are not 0, 1 or 2 (which the child's own
// standard streams would overwrite).
static int make_pipe(int ends[2])
{
    int raw[2];
    ends[0] = ends[1] = NOT_OPEN;
    if (pipe(raw)) return errno;
    ends[0] = fcntl(raw[0], F_DUPFD_CLOEXEC, 3);
    ends[1] = ends[0] < 0 ? NOT_OPEN : fcntl(raw[1], F_DUPFD_CLOEXEC, 3);
    int code = ends[1] < 0 ? errno : 0;
    close(raw[0]);
    close(raw[1]);
    return code;
}

// posix_spawn and not fork: a process with gigabytes of weights need not be copied to start a shell. The child leads a
// process group of its own, so that what it starts can be killed with it.
static int spawn_shell(pid_t *process, const char *command, int input, int output)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, standard;
    char *arguments[] = {"sh", "-c", (char *)(uintptr_t)command, NULL};
    int code = posix_spawn_file_actions_init(&actions);
    if (code) return code;
    if ((code = posix_spawnattr_init(&attributes))) {
        posix_spawn_file_actions_destroy(&actions);
        return code;
    }
    sigemptyset(&none);
    sigemptyset(&standard);
    sigaddset(&standard, SIGPIPE);
    const short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP;
    if (!(code = posix_spawn_file_actions_adddup2(&actions, input, 0))
        && !(code = posix_spawn_file_actions_adddup2(&actions, output, 1))
        && !(code = posix_spawnattr_setsigmask(&attributes, &none))
        && !(code = posix_spawnattr_setsigdefault(&attributes, &standard))
        && !(code = posix_spawnattr_setpgroup(&attributes, 0)) && !(code = posix_spawnattr_setflags(&attributes, flags)))
        code = posix_spawn(process, "/bin/sh", &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

static int start_program(Pipes *os, const char *command, Err *err)
{
    int input[2] = {NOT_OPEN, NOT_OPEN}, output[2] = {NOT_OPEN, NOT_OPEN};
    int code = make_pipe(input);
    if (!code) code = make_pipe(output);
    if (!code) code = spawn_shell(&os->process, command, input[0], output[1]);
    close_end(&input[0]);
    close_end(&output[1]);
    os->to = input[1];
    os->from = output[0];
    if (!code && (fcntl(os->to, F_SETFL, O_NONBLOCK) || fcntl(os->from, F_SETFL, O_NONBLOCK)))
        code = errno; // cannot fail on a pipe
    if (!code) return 0;
    close_input(os);
    close_output(os);
    return err_failed(err, "command \"%s\": cannot start: %s", command, strerror(code));
}

static void wait_ready(Pipes *os, bool writing, double seconds)
{
    struct pollfd ends[2];
    nfds_t n = 0;
    if (os && os->from != NOT_OPEN) ends[n++] = (struct pollfd){.fd = os->from, .events = POLLIN};
    if (os && writing) ends[n++] = (struct pollfd){.fd = os->to, .events = POLLOUT};
    (void)poll(ends, n, seconds > 3600 ? 3600000 : (int)(seconds * 1000) + 1); // a signal only makes the caller look again
}

// write() to a pipe that nobody reads raises SIGPIPE: held back in this thread and taken off again, so that neither a
// handler nor the disposition of the process changes.
static ssize_t write_without_signal(int fd, const char *bytes, size_t n)
{
    sigset_t broken, before, pending;
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &broken, &before);
    ssize_t sent = write(fd, bytes, n);
    int code = errno, number;
    if (sent < 0 && code == EPIPE && !was_pending) {
        sigpending(&pending);
        if (sigismember(&pending, SIGPIPE) == 1) sigwait(&broken, &number);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = code;
    return sent;
}

static bool try_again(int code) { return code == EAGAIN || code == EWOULDBLOCK || code == EINTR; }

static long send_some(Pipes *os, const char *bytes, size_t n)
{
    ssize_t sent = write_without_signal(os->to, bytes, n > CHUNK ? CHUNK : n);
    return sent < 0 && try_again(errno) ? 0 : (long)sent;
}

static long receive_some(Pipes *os, char *bytes, size_t n)
{
    ssize_t got = read(os->from, bytes, n);
    if (got < 0 && try_again(errno)) return 0;
    return got == 0 ? -1 : (long)got;
}

static void record_ending(OsChild *child, int status)
{
    child->finished = true;
    child->success = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    if (WIFSIGNALED(status)) snprintf(child->ending, sizeof child->ending, "was killed by signal %d", WTERMSIG(status));
    else if (code > 128 && code < 160) // how a shell tells that its command was killed
        snprintf(child->ending, sizeof child->ending, "exited with status %d, as after signal %d", code, code - 128);
    else snprintf(child->ending, sizeof child->ending, "exited with status %d%s", code, code == 127 ? " (command not found)" : "");
}

static bool collect_status(OsChild *child)
{
    int status = 0;
    if (child->finished) return true;
    pid_t got = waitpid(child->os.process, &status, WNOHANG);
    if (got == child->os.process) record_ending(child, status);
    else if (got < 0 && errno == ECHILD) { // the program that uses this library ignores SIGCHLD or collects all children
        child->finished = true;
        snprintf(child->ending, sizeof child->ending, "ended with an unknown status");
    }
    return child->finished;
}

static void kill_program(OsChild *child)
{
    close_input(&child->os);
    close_output(&child->os);
    if (child->finished) return; // its number may belong to another process by now
    int status = 0;
    pid_t got;
    kill(-child->os.process, SIGKILL);
    while ((got = waitpid(child->os.process, &status, 0)) < 0 && errno == EINTR) continue;
    if (got == child->os.process) record_ending(child, status);
    child->finished = true;
}

#else

// ---- Windows: no poll on pipes, so both ends are asked every few milliseconds ----------------------------------------------

static void close_end(HANDLE *end)
{
    if (*end != NOT_OPEN) CloseHandle(*end);
    *end = NOT_OPEN;
}

static void close_input(Pipes *os) { close_end(&os->to); }
static void close_output(Pipes *os) { close_end(&os->from); }

static bool make_pipes(HANDLE input[2], HANDLE output[2])
{
    SECURITY_ATTRIBUTES inherited = {.nLength = sizeof inherited, .bInheritHandle = TRUE};
    return CreatePipe(&input[0], &input[1], &inherited, CHUNK) && CreatePipe(&output[0], &output[1], &inherited, CHUNK)
        && SetHandleInformation(input[1], HANDLE_FLAG_INHERIT, 0) && SetHandleInformation(output[0], HANDLE_FLAG_INHERIT, 0);
}

static int start_program(Pipes *os, const char *command, Err *err)
{
    HANDLE input[2] = {NOT_OPEN, NOT_OPEN}, output[2] = {NOT_OPEN, NOT_OPEN};
    PROCESS_INFORMATION info = {0};
    Text line = {0};
    if (text_printf(&line, err, "cmd /c %s", command)) {
        text_free(&line);
        return -1;
    }
    bool started = make_pipes(input, output);
    if (started) {
        STARTUPINFOA startup = {.cb = sizeof startup, .dwFlags = STARTF_USESTDHANDLES};
        startup.hStdInput = input[0];
        startup.hStdOutput = output[1];
        startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
        started = CreateProcessA(NULL, line.data, NULL, NULL, TRUE, CREATE_SUSPENDED, NULL, NULL, &startup, &info);
    }
    text_free(&line);
    close_end(&input[0]);
    close_end(&output[1]);
    os->to = input[1];
    os->from = output[0];
    if (!started) {
        close_input(os);
        close_output(os);
        return err_failed(err, "command \"%s\": cannot start (Windows error %lu)", command, (unsigned long)GetLastError());
    }
    DWORD mode = PIPE_NOWAIT;
    SetNamedPipeHandleState(os->to, &mode, NULL, NULL);
    os->process = info.hProcess;
    os->job = CreateJobObjectA(NULL, NULL); // what it starts belongs to the job as well, and ends with it
    if (os->job) AssignProcessToJobObject(os->job, info.hProcess);
    ResumeThread(info.hThread);
    CloseHandle(info.hThread);
    return 0;
}

static void wait_ready(Pipes *os, bool writing, double seconds)
{
    (void)os, (void)writing;
    Sleep(seconds > 0.002 ? 2 : 1);
}

static long send_some(Pipes *os, const char *bytes, size_t n)
{
    DWORD sent = 0;
    return WriteFile(os->to, bytes, (DWORD)(n > 4096 ? 4096 : n), &sent, NULL) ? (long)sent : -1;
}

static long receive_some(Pipes *os, char *bytes, size_t n)
{
    DWORD waiting = 0, got = 0;
    if (!PeekNamedPipe(os->from, NULL, 0, NULL, &waiting, NULL)) return -1;
    if (!waiting) return 0;
    return ReadFile(os->from, bytes, (DWORD)(waiting < n ? waiting : n), &got, NULL) && got ? (long)got : -1;
}

static bool collect_status(OsChild *child)
{
    DWORD code = 0;
    if (child->finished || WaitForSingleObject(child->os.process, 0) != WAIT_OBJECT_0) return child->finished;
    GetExitCodeProcess(child->os.process, &code);
    child->finished = true;
    child->success = code == 0;
    snprintf(child->ending, sizeof child->ending, "exited with status %lu", (unsigned long)code);
    return true;
}

static void kill_program(OsChild *child)
{
    close_input(&child->os);
    close_output(&child->os);
    if (child->os.job) TerminateJobObject(child->os.job, 1);
    if (!child->finished) TerminateProcess(child->os.process, 1);
    WaitForSingleObject(child->os.process, INFINITE);
    collect_status(child);
}

#endif
