/*
 * A client of vgas in C: any NATS library and any msgpack library will do. Nothing here is of vgas but its subjects and fields
 * (docs/protocol.md).
 *
 *   bin/vgas up                                   # in another terminal
 *   bin/vgas connection > connection.json
 *   make -C examples/c && examples/c/vgas-client connection.json
 *
 * It submits one task, an array of three, one that it cancels while it runs, and one that is to run now or not at all, prints each
 * result as it comes, and reads the first one again from the store. Exit 0 if every task ended as it should.
 */
#include <msgpack.h>
#include <nats/nats.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"

#define POOL "default"
#define RESULTS "vgas.results." POOL
enum { TIMEOUT_MS = 15000, MAX_ID = 80, MAX_SUBJECT = 200 };

static void fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

static void check(natsStatus status, const char *what) {
  if (status == NATS_TIMEOUT) fail(what, "no answer in time: is there an agent for the kind?");
  if (status == NATS_NO_RESPONDERS) fail(what, "nobody answers: no swarm runs there");
  if (status != NATS_OK) fail(what, natsStatus_GetText(status));
}

/* msgpack: the value of a string key in a map, or NULL. */
static const msgpack_object *field(const msgpack_object *map, const char *name) {
  if (map == NULL || map->type != MSGPACK_OBJECT_MAP) return NULL;
  for (uint32_t i = 0; i < map->via.map.size; i++) {
    const msgpack_object *key = &map->via.map.ptr[i].key;
    if (key->type == MSGPACK_OBJECT_STR && key->via.str.size == strlen(name) &&
        memcmp(key->via.str.ptr, name, key->via.str.size) == 0)
      return &map->via.map.ptr[i].val;
  }
  return NULL;
}

static bool is(const msgpack_object *value, const char *text) {
  return value != NULL && value->type == MSGPACK_OBJECT_STR && value->via.str.size == strlen(text) &&
         memcmp(value->via.str.ptr, text, value->via.str.size) == 0;
}

static void pack_text(msgpack_packer *packer, const char *text) {
  msgpack_pack_str(packer, strlen(text));
  msgpack_pack_str_body(packer, text, strlen(text));
}

/* {"input": {"ms": N}} or {"input": "text"}: the map of one task. */
static void pack_task(msgpack_packer *packer, const char *text, int ms) {
  msgpack_pack_map(packer, 1);
  pack_text(packer, "input");
  if (text != NULL) {
    pack_text(packer, text);
    return;
  }
  msgpack_pack_map(packer, 1);
  pack_text(packer, "ms");
  msgpack_pack_int(packer, ms);
}

/* Sends a request, and fails the program if there is no answer. The caller destroys it. */
static natsMsg *request(natsConnection *nats, const char *subject, const msgpack_sbuffer *body) {
  natsMsg *answer = NULL;
  check(natsConnection_Request(&answer, nats, subject, body ? body->data : "", body ? (int)body->size : 0, TIMEOUT_MS),
        subject);
  return answer;
}

/* Stores a task message; returns its sequence in the stream, which gives the task its id. The answer is JetStream's, in JSON. */
static unsigned long long submit(natsConnection *nats, const char *kind, const msgpack_sbuffer *body) {
  char subject[MAX_SUBJECT];
  snprintf(subject, sizeof subject, "vgas.tasks." POOL ".%s", kind);
  natsMsg *answer = request(nats, subject, body);
  char text[512];
  snprintf(text, sizeof text, "%.*s", natsMsg_GetDataLength(answer), natsMsg_GetData(answer));
  natsMsg_Destroy(answer);
  const char *sequence = strstr(text, "\"seq\":");
  if (strstr(text, "\"error\"") != NULL || sequence == NULL) fail(subject, text);
  return strtoull(sequence + strlen("\"seq\":"), NULL, 10);
}

/* Prints "<how> <id>: <status> <output>"; false unless the status is `wanted`. */
static bool print_result(const char *how, natsMsg *message, const char *wanted) {
  msgpack_unpacked unpacked;
  msgpack_unpacked_init(&unpacked);
  const char *data = natsMsg_GetData(message);
  if (msgpack_unpack_next(&unpacked, data, (size_t)natsMsg_GetDataLength(message), NULL) != MSGPACK_UNPACK_SUCCESS)
    fail(natsMsg_GetSubject(message), "what came is no msgpack");
  const msgpack_object *id = field(&unpacked.data, "id"), *status = field(&unpacked.data, "status");
  const msgpack_object *output = field(&unpacked.data, "output");
  const bool as_wanted = is(status, wanted);
  printf("%s ", how);
  if (id != NULL) printf("%.*s: ", (int)id->via.str.size, id->via.str.ptr);
  if (status != NULL) printf("%.*s", (int)status->via.str.size, status->via.str.ptr);
  if (output != NULL) {
    printf(" ");
    msgpack_object_print(stdout, *output);
  }
  printf("\n");
  msgpack_unpacked_destroy(&unpacked);
  return as_wanted;
}

/* Waits for the result of one task; others that pass by are left out. */
static bool await(natsSubscription *results, const char *id, const char *wanted) {
  char subject[MAX_SUBJECT];
  snprintf(subject, sizeof subject, RESULTS ".%s", id);
  for (;;) {
    natsMsg *message = NULL;
    check(natsSubscription_NextMsg(&message, results, TIMEOUT_MS), subject);
    const bool ours = strcmp(natsMsg_GetSubject(message), subject) == 0;
    const bool as_wanted = ours && print_result("live  ", message, wanted);
    natsMsg_Destroy(message);
    if (ours) return as_wanted;
  }
}

/* Asks for a task to be cancelled, whether it waits or runs. True if it was, or was told to end. */
static bool cancel(natsConnection *nats, const char *id) {
  char subject[MAX_SUBJECT];
  snprintf(subject, sizeof subject, "vgas.cancel." POOL ".%s", id);
  natsMsg *answer = request(nats, subject, NULL);
  msgpack_unpacked unpacked;
  msgpack_unpacked_init(&unpacked);
  bool told = false;
  if (msgpack_unpack_next(&unpacked, natsMsg_GetData(answer), (size_t)natsMsg_GetDataLength(answer), NULL) ==
      MSGPACK_UNPACK_SUCCESS) {
    const msgpack_object *state = field(&unpacked.data, "state");
    told = is(state, "cancelled") || is(state, "cancelling");
    printf("cancel %s: %s\n", id, told ? "cancelled" : "not cancelled");
  }
  msgpack_unpacked_destroy(&unpacked);
  natsMsg_Destroy(answer);
  return told;
}

/* Takes place only if an agent is free: the answer names it, or says RESOURCE_LIMIT. */
static bool now(natsConnection *nats, const msgpack_sbuffer *body, char id[MAX_ID]) {
  natsMsg *answer = request(nats, "vgas.now." POOL ".echo", body);
  msgpack_unpacked unpacked;
  msgpack_unpacked_init(&unpacked);
  bool taken = false;
  if (msgpack_unpack_next(&unpacked, natsMsg_GetData(answer), (size_t)natsMsg_GetDataLength(answer), NULL) ==
      MSGPACK_UNPACK_SUCCESS) {
    const msgpack_object *named = field(&unpacked.data, "id"), *agent = field(&unpacked.data, "agent");
    taken = named != NULL && named->type == MSGPACK_OBJECT_STR && agent != NULL;
    if (taken) snprintf(id, MAX_ID, "%.*s", (int)named->via.str.size, named->via.str.ptr);
    printf("now    %s\n", taken ? id : "refused");
  }
  msgpack_unpacked_destroy(&unpacked);
  natsMsg_Destroy(answer);
  return taken;
}

int main(int argc, char **argv) {
  if (argc != 2) fail(argv[0], "give the file that `vgas connection` was written to");
  natsConnection *nats = NULL;
  if (vgas_connect(&nats, argv[1]) != NATS_OK) return 1;

  /* Listen before anything is sent, so that no result is missed. */
  natsSubscription *results = NULL;
  check(natsConnection_SubscribeSync(&results, nats, RESULTS ".*"), RESULTS);
  check(natsConnection_Flush(nats), RESULTS);

  bool ok = true;
  char id[MAX_ID], first[MAX_ID];
  msgpack_sbuffer body;
  msgpack_packer packer;
  msgpack_sbuffer_init(&body);
  msgpack_packer_init(&packer, &body, msgpack_sbuffer_write);

  pack_task(&packer, "hello from C", 0);
  snprintf(first, sizeof first, "s%llu", submit(nats, "echo", &body));
  ok &= await(results, first, "ok");

  /* An array: each element has an id, a turn and a result of its own. */
  msgpack_sbuffer_clear(&body);
  const char *colours[] = {"red", "green", "blue"};
  msgpack_pack_array(&packer, 3);
  for (int i = 0; i < 3; i++) pack_task(&packer, colours[i], 0);
  const unsigned long long array = submit(nats, "echo", &body);
  for (int i = 0; i < 3; i++) {
    natsMsg *message = NULL;
    check(natsSubscription_NextMsg(&message, results, TIMEOUT_MS), "the results of the array");
    snprintf(id, sizeof id, RESULTS ".s%llu-", array);
    ok &= strncmp(natsMsg_GetSubject(message), id, strlen(id)) == 0 && print_result("live  ", message, "ok");
    natsMsg_Destroy(message);
  }

  msgpack_sbuffer_clear(&body);
  pack_task(&packer, NULL, 60000);
  snprintf(id, sizeof id, "s%llu", submit(nats, "sleep", &body));
  ok &= cancel(nats, id) && await(results, id, "cancelled");

  msgpack_sbuffer_clear(&body);
  pack_task(&packer, "at once", 0);
  ok &= now(nats, &body, id) && await(results, id, "ok");

  /* The first one again, from the store, where it stays for a day. */
  char subject[MAX_SUBJECT];
  snprintf(subject, sizeof subject, "$JS.API.DIRECT.GET.VGAS_RESULTS." RESULTS ".%s", first);
  natsMsg *stored = request(nats, subject, NULL);
  if (natsMsg_GetDataLength(stored) == 0) fail(subject, "it is not stored");
  ok &= print_result("stored", stored, "ok");
  natsMsg_Destroy(stored);

  msgpack_sbuffer_destroy(&body);
  natsSubscription_Destroy(results);
  natsConnection_Destroy(nats);
  nats_Close();
  return ok ? 0 : 1;
}
