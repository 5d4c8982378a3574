#include "connection.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nkey.h"

enum { MAX_FILE = 16 * 1024, MAX_FIELD = 1024 };

static bool read_file(const char *file, char text[MAX_FILE]) {
  FILE *stream = fopen(file, "rb");
  if (stream == NULL) {
    perror(file);
    return false;
  }
  const size_t count = fread(text, 1, MAX_FILE - 1, stream);
  fclose(stream);
  text[count] = '\0';
  return true;
}

/*
 * The string `name` of a flat JSON object. Enough for a connection, whose strings hold no quotes; a program of more than one file
 * has a JSON library.
 */
static bool json_string(const char *json, const char *name, char value[MAX_FIELD]) {
  char wanted[64];
  snprintf(wanted, sizeof wanted, "\"%s\"", name);
  const char *at = strstr(json, wanted);
  if (at == NULL) return false;
  at += strlen(wanted);
  at += strspn(at, " \t\r\n:");
  if (*at++ != '"') return false;
  const size_t length = strcspn(at, "\"");
  if (length >= MAX_FIELD) return false;
  memcpy(value, at, length);
  value[length] = '\0';
  return true;
}

natsStatus vgas_connect(natsConnection **nats, const char *file) {
  static char json[MAX_FILE], seed[MAX_FILE];
  char url[MAX_FIELD], seed_file[MAX_FIELD], inbox_prefix[MAX_FIELD], ca_file[MAX_FIELD];
  char public_key[NKEY_PUBLIC_BYTES];
  if (!read_file(file, json)) return NATS_INVALID_ARG;
  if (!json_string(json, "url", url) || !json_string(json, "nkeySeedFile", seed_file) ||
      !json_string(json, "inboxPrefix", inbox_prefix)) {
    fprintf(stderr, "%s is not what `vgas connection` prints (without --inline)\n", file);
    return NATS_INVALID_ARG;
  }
  if (!read_file(seed_file, seed) || !nkey_public(seed, public_key)) {
    fprintf(stderr, "%s holds no nkey seed of a user\n", seed_file);
    return NATS_INVALID_ARG;
  }
  memset(seed, 0, sizeof seed);

  natsOptions *options = NULL;
  natsStatus status = natsOptions_Create(&options);
  if (status == NATS_OK) status = natsOptions_SetURL(options, url);
  if (status == NATS_OK) status = natsOptions_SetNKeyFromSeed(options, public_key, seed_file);
  /* A credential opens inboxes of its own only. */
  if (status == NATS_OK) status = natsOptions_SetCustomInboxPrefix(options, inbox_prefix);
  if (status == NATS_OK && json_string(json, "caFile", ca_file)) {
    status = natsOptions_SetSecure(options, true);
    if (status == NATS_OK) status = natsOptions_LoadCATrustedCertificates(options, ca_file);
  }
  if (status == NATS_OK) status = natsConnection_Connect(nats, options);
  if (status != NATS_OK) fprintf(stderr, "%s: %s\n", url, natsStatus_GetText(status));
  natsOptions_Destroy(options);
  return status;
}
