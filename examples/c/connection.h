/* Connects with what `vgas connection` printed. */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <nats/nats.h>

/* Reads the file that `vgas connection` was written to, and connects. Says on standard error what is wrong. */
natsStatus vgas_connect(natsConnection **nats, const char *file);

#endif
