/* Forks in sessions of their own as fast as there is room, and again whenever there is. */
#include <time.h>
#include <unistd.h>

int main(void) {
    time_t end = time(0) + 120; /* should all killing fail, it ends by itself */
    while (time(0) < end) {
        if (fork() == 0) {
            setsid();
        }
        usleep(500);
    }
    return 0;
}
