/* Grows by RATE bytes of resident memory per second, for judging on time alone.
 *
 *   gcc -O1 -o grow grow.c && ./grow          grows
 *   ./grow --flat                             allocates the same and frees it: the healthy twin
 *
 * RATE        bytes per second (default 1048576)
 * BASE_MB     resident from the start (default 16)
 * LIFETIME_S  ends itself after so long, status 0 (default 600)
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PIECE 16384

static double setting(const char *name, double fallback) {
    const char *text = getenv(name);
    return text ? strtod(text, NULL) : fallback;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Memory that is really resident: every byte is written. */
static void *touched(size_t size) {
    void *block = malloc(size ? size : 1);
    if (!block) exit(3);
    memset(block, 1, size ? size : 1);
    return block;
}

int main(int argc, char **argv) {
    double rate = setting("RATE", 1048576.0);
    double end = seconds() + setting("LIFETIME_S", 600.0);
    int flat = argc > 1 && strcmp(argv[1], "--flat") == 0;
    void *base = touched((size_t)(setting("BASE_MB", 16.0) * 1048576.0));
    printf("%s\n", flat ? "flat" : "growing");
    fflush(stdout);
    double begun = seconds();
    double given = 0.0;
    while (seconds() < end) {
        /* By the clock and not by the step, so that the rate holds on a busy machine too; in pieces of one size, so that
           the twin that lets them go has the same peak however late it is woken. */
        double due = rate * (seconds() - begun);
        for (; given < due; given += PIECE) {
            void *piece = touched(PIECE);
            if (flat) free(piece);
        }
        struct timespec step = {0, 50000000};
        nanosleep(&step, NULL);
    }
    free(base);
    return 0;
}
