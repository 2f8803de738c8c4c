/* A task's program that writes down when it lives, cheaply enough for a thousand of them.
 *
 * usage: beacon FILE [STEP_MS]     lines: task node term pid boottime, append only
 * One line at the start, one every STEP_MS, one at SIGTERM. The kernel's clock is the same for all.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t told;

static void on_term(int signum) { (void)signum; told = 1; }

static void write_line(int fd, const char *task, const char *node, const char *term) {
    struct timespec now;
    char line[512];
    clock_gettime(CLOCK_BOOTTIME, &now);
    int length = snprintf(line, sizeof line, "%s %s %s %d %ld.%06ld\n", task, node, term,
                          (int)getpid(), (long)now.tv_sec, now.tv_nsec / 1000);
    if (write(fd, line, (size_t)length) != length) _exit(1);
}

int main(int argc, char **argv) {
    const char *task = getenv("COORD_TASK"), *node = getenv("COORD_NODE"), *term = getenv("COORD_TERM");
    if (argc < 2 || !task || !node || !term) return 2;
    long step_ms = argc > 2 ? atol(argv[2]) : 250;
    int fd = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return 1;
    struct sigaction action = {.sa_handler = on_term};
    sigaction(SIGTERM, &action, NULL);
    struct timespec step = {step_ms / 1000, step_ms % 1000 * 1000000L};
    while (!told) {
        write_line(fd, task, node, term);
        nanosleep(&step, NULL);
    }
    write_line(fd, task, node, term);
    return 0;
}
