/*
 * The same as in-process.rs, where there is a C compiler and no Rust: read lock, atomic fetch-add modulo length, copy of the agent.
 *
 * Arguments: agents, tasks a sample, samples. Prints nanoseconds a task, one sample a line.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct agent {
    char *id;
    char *kind;
    size_t slots;
};

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct agent *agents;
static size_t length;
static atomic_size_t next;

static struct agent pick(void) {
    pthread_rwlock_rdlock(&lock);
    size_t ticket = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed);
    struct agent *at = &agents[ticket % length];
    struct agent copy = {strdup(at->id), strdup(at->kind), at->slots};
    pthread_rwlock_unlock(&lock);
    return copy;
}

static double nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    length = strtoul(argv[1], NULL, 10);
    size_t batch = strtoul(argv[2], NULL, 10);
    size_t samples = strtoul(argv[3], NULL, 10);
    agents = calloc(length, sizeof *agents);
    for (size_t i = 0; i < length; i++) {
        char id[64];
        snprintf(id, sizeof id, "host-%016d-%zu", 1, i);
        agents[i] = (struct agent){strdup(id), strdup("echo"), 64};
    }
    struct agent *picked = calloc(batch, sizeof *picked);
    for (size_t sample = 0; sample < 2 * samples; sample++) {
        double begun = nanoseconds();
        for (size_t i = 0; i < batch; i++) picked[i] = pick();
        double nanos = (nanoseconds() - begun) / (double)batch;
        for (size_t i = 0; i < batch; i++) {
            free(picked[i].id);
            free(picked[i].kind);
        }
        /* The first half warms up. */
        if (sample >= samples) printf("%.1f\n", nanos);
    }
    return 0;
}
