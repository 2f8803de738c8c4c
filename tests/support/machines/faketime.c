/* Gives the processes of one node, or of a server, clocks that run at another rate or are stepped.

   FAKE_CLOCKS="RATE STEPS MONOTONIC BOOTTIME RAW REALTIME"
     RATE      every clock runs so fast, counted from the four moments (seconds) that follow STEPS
     STEPS     a file with one double, which anybody may change: seconds added to the wall clock

   What waits until a moment of a clock, or for a time, is translated back, so that everything that a
   process can see of time agrees with itself. Needs nothing but a C compiler. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BILLION 1000000000LL
#define DESCRIPTORS 4096

static double rate = 1.0;
static volatile double *steps; /* of the wall clock alone */
static double bases[4];        /* CLOCK_MONOTONIC, BOOTTIME, MONOTONIC_RAW, REALTIME */
static clockid_t timers[DESCRIPTORS];

__attribute__((constructor)) static void begin(void) {
    const char *said = getenv("FAKE_CLOCKS");
    char path[512];
    if (!said || sscanf(said, "%lf %511s %lf %lf %lf %lf", &rate, path, &bases[0], &bases[1],
                        &bases[2], &bases[3]) != 6)
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    void *page = mmap(NULL, sizeof(double), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED)
        steps = page;
}

static int base_of(clockid_t clock) {
    switch (clock) {
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
        return 0;
    case CLOCK_BOOTTIME:
        return 1;
    case CLOCK_MONOTONIC_RAW:
        return 2;
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return 3;
    default: /* CPU time, and what nobody here asks for */
        return -1;
    }
}

static int64_t ns(const struct timespec *at) { return at->tv_sec * BILLION + at->tv_nsec; }

static struct timespec spec(int64_t at) {
    struct timespec result = {at / BILLION, at % BILLION};
    if (result.tv_nsec < 0)
        result = (struct timespec){result.tv_sec - 1, result.tv_nsec + BILLION};
    return result;
}

static int64_t step_of(int base) { return base == 3 && steps ? (int64_t)(*steps * BILLION) : 0; }

/* Nothing to do where no clock was given, or the clock is none of ours. */
static int64_t faked(clockid_t clock, int64_t real) {
    int base = base_of(clock);
    if (base < 0 || !steps)
        return real;
    int64_t from = (int64_t)(bases[base] * BILLION);
    return from + (int64_t)((real - from) * rate) + step_of(base);
}

static int64_t meant(clockid_t clock, int64_t fake) {
    int base = base_of(clock);
    if (base < 0 || !steps)
        return fake;
    int64_t from = (int64_t)(bases[base] * BILLION);
    int64_t real = from + (int64_t)((fake - step_of(base) - from) / rate);
    return real > 0 ? real : 1;
}

static struct timespec meant_spec(clockid_t clock, const struct timespec *fake) {
    return spec(meant(clock, ns(fake)));
}

/* --- what tells the time --- */

int clock_gettime(clockid_t clock, struct timespec *at) {
    if (syscall(SYS_clock_gettime, clock, at) != 0)
        return -1;
    *at = spec(faked(clock, ns(at)));
    return 0;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *at = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

/* --- what waits until a moment --- */

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *at, struct timespec *left) {
    struct timespec real = spec((int64_t)(ns(at) / rate));
    if (flags & TIMER_ABSTIME)
        real = meant_spec(clock, at);
    return NEXT(clock_nanosleep)(clock, flags, &real, left);
}

int sem_clockwait(sem_t *restrict sem, clockid_t clock, const struct timespec *restrict at) {
    struct timespec real = meant_spec(clock, at);
    return NEXT(sem_clockwait)(sem, clock, &real);
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict at) {
    struct timespec real = meant_spec(CLOCK_REALTIME, at);
    return NEXT(sem_timedwait)(sem, &real);
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict at) {
    /* The clock is the condition's secret; but no machine is up for thirty years. */
    struct timespec real =
        meant_spec(at->tv_sec > 1000000000 ? CLOCK_REALTIME : CLOCK_MONOTONIC, at);
    static __typeof__(&pthread_cond_timedwait) next;
    if (!next)
        next = (__typeof__(next))dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    return next(cond, mutex, &real);
}

int pthread_cond_clockwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           clockid_t clock, const struct timespec *restrict at) {
    struct timespec real = meant_spec(clock, at);
    return NEXT(pthread_cond_clockwait)(cond, mutex, clock, &real);
}

int timerfd_create(int clock, int flags) {
    int fd = (int)syscall(SYS_timerfd_create, clock, flags);
    if (fd >= 0 && fd < DESCRIPTORS)
        timers[fd] = clock;
    return fd;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *before) {
    struct itimerspec real = *when;
    clockid_t clock = fd < DESCRIPTORS ? timers[fd] : CLOCK_MONOTONIC;
    if (ns(&when->it_value) != 0 && (flags & TFD_TIMER_ABSTIME))
        real.it_value = meant_spec(clock, &when->it_value);
    else if (ns(&when->it_value) != 0)
        real.it_value = spec((int64_t)(ns(&when->it_value) / rate) + 1);
    return (int)syscall(SYS_timerfd_settime, fd, flags, &real, before);
}

/* --- what waits for a time --- */

static int real_ms(int ms) { return ms > 0 ? (int)(ms / rate + 0.999) : ms; }

int poll(struct pollfd *fds, nfds_t count, int ms) { return NEXT(poll)(fds, count, real_ms(ms)); }

int epoll_wait(int fd, struct epoll_event *events, int count, int ms) {
    return NEXT(epoll_wait)(fd, events, count, real_ms(ms));
}

int epoll_pwait(int fd, struct epoll_event *events, int count, int ms, const sigset_t *mask) {
    return NEXT(epoll_pwait)(fd, events, count, real_ms(ms), mask);
}

int select(int count, fd_set *restrict r, fd_set *restrict w, fd_set *restrict x,
           struct timeval *restrict limit) {
    if (!limit)
        return NEXT(select)(count, r, w, x, NULL);
    struct timespec real =
        spec((int64_t)((limit->tv_sec * BILLION + limit->tv_usec * 1000LL) / rate));
    struct timeval given = {real.tv_sec, real.tv_nsec / 1000};
    return NEXT(select)(count, r, w, x, &given);
}
