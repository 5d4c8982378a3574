/* The public half of an nkey seed: NATS wants both, and `vgas connection` prints the seed only. */
#ifndef NKEY_H
#define NKEY_H

#include <stdbool.h>

/* "U" and 55 letters and digits, and the zero behind them. */
#define NKEY_PUBLIC_BYTES 57

/* Writes the public key of a user's seed ("SU…", white space around it is ignored). False if it is none. */
bool nkey_public(const char *seed, char public_key[NKEY_PUBLIC_BYTES]);

#endif
